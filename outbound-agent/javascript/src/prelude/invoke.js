// Calls the module's handlers and hands on what they give.

import { apply, native, promised, then } from 'outbound:native';
import { demand, fail } from 'outbound:convert';
import { take } from 'outbound:body';
import { wire } from 'outbound:headers';
import { incoming } from 'outbound:request';
import { isResponse, stateOf } from 'outbound:response';

const { assign } = Object;
const InternalErrorOf = InternalError;
let bindings = {};
let target = null;

export function bind(env) {
  bindings = env;
}

/** What `env` has whatever the module is called for. */
export const environment = () => bindings;

/** Takes the module's export that answers; gives which handlers it has. */
export function adopt(namespace, entrypoint) {
  target = namespace[entrypoint];
  if (target === undefined || target === null) fail('module', `has no export "${entrypoint}"`);
  const handlers = isClass(target) ? target.prototype : target;
  if (typeof handlers.fetch !== 'function' && typeof handlers.connect !== 'function') {
    fail('module', `its export "${entrypoint}" has neither a fetch nor a connect handler`);
  }
}

const isClass = (value) => typeof value === 'function' && typeof value.prototype?.fetch === 'function';

class ExecutionContext {
  #invocation;
  props = {};

  constructor(invocation) {
    this.#invocation = invocation;
  }

  waitUntil(promise) {
    demand('ctx.waitUntil', arguments.length, 1);
    const invocation = this.#invocation;
    native.hold(invocation);
    then(
      promised.resolve(promise),
      () => native.release(invocation),
      (error) => {
        native.console(2, `ctx.waitUntil: ${describe(error).message}`);
        native.release(invocation);
      },
    );
  }

  /** Kept for compatibility: an exception never lets a request through undecided. */
  passThroughOnException() {}
}

export async function dispatch(invocation, method, url, head, body, parameters) {
  try {
    const request = incoming(method, url, head, body);
    const env = parameters === undefined ? bindings : assign({}, bindings, parameters);
    const context = new ExecutionContext(invocation);
    const handler = isClass(target) ? new target(context, env) : target;
    if (typeof handler.fetch !== 'function') {
      native.fail(invocation, 'handler', '', '');
      return;
    }
    const response = await apply(handler.fetch, handler, isClass(target) ? [request] : [request, env, context]);
    if (!isResponse(response)) {
      native.fail(invocation, 'response', kind(response), '');
      return;
    }
    const state = stateOf(response);
    if (state.status === 0) {
      native.fail(invocation, 'response', 'Response.error()', '');
      return;
    }
    native.reply(invocation, state.status, state.statusText || undefined, wire(state.headers), take(state.body, 'Response'));
  } catch (error) {
    const { memory, message, stack } = describe(error);
    native.fail(invocation, memory ? 'memory' : 'exception', message, stack);
  }
}

function kind(value) {
  if (value === null) return 'null';
  if (typeof value !== 'object') return typeof value;
  return 'an object that is no Response';
}

/** An error in words, whatever was thrown and whatever its getters do. */
function describe(error) {
  try {
    if (typeof error === 'object' && error !== null) {
      const message = `${error.name}: ${error.message}`.toWellFormed();
      const memory = error instanceof InternalErrorOf && error.message === 'out of memory';
      return { memory, message, stack: own(`${error.stack ?? ''}`.toWellFormed()) };
    }
    return { memory: error === null, message: `${String(error)} was thrown`.toWellFormed(), stack: '' };
  } catch {
    return { memory: false, message: 'something was thrown that cannot be shown', stack: '' };
  }
}

/** The frames of the module: those of the platform help nobody. */
const own = (stack) =>
  stack
    .split('\n')
    .filter((line) => line !== '' && !line.includes('outbound:') && !line.includes('(native)'))
    .map((line) => line.trim())
    .join('\n');
