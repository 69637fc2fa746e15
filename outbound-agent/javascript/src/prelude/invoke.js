// Calls the module's handlers and hands on what they give.

import { native, then } from 'outbound:native';
import { fail } from 'outbound:convert';
import { take } from 'outbound:body';
import { wire } from 'outbound:headers';
import { incoming } from 'outbound:request';
import { isResponse, stateOf } from 'outbound:response';

const { assign } = Object;
const { resolve } = Promise;
const PromiseOf = Promise;
let bindings = {};
let target = null;

export function bind(env) {
  bindings = env;
}

/** Takes the module's export that answers. */
export function adopt(namespace, entrypoint) {
  target = namespace[entrypoint];
  if (target === undefined || target === null) {
    fail('module', `exports no "${entrypoint}"`);
  }
}

class ExecutionContext {
  #invocation;

  constructor(invocation) {
    this.#invocation = invocation;
  }

  waitUntil(promise) {
    const invocation = this.#invocation;
    native.hold(invocation);
    const done = () => native.release(invocation);
    const failed = (error) => {
      native.console(2, `ctx.waitUntil: ${describe(error).message}`);
      native.release(invocation);
    };
    then(PromiseOf.resolve(promise), done, failed);
  }

  /** Kept for compatibility: an exception never lets a request through undecided. */
  passThroughOnException() {}
}

export async function dispatch(invocation, method, url, head, body, parameters) {
  try {
    const request = incoming(method, url, head, body);
    const env = parameters === undefined ? bindings : assign({}, bindings, parameters);
    const context = new ExecutionContext(invocation);
    const handler = target.fetch;
    if (typeof handler !== 'function') {
      native.fail(invocation, 'handler', '', '');
      return;
    }
    const response = await Reflect.apply(handler, target, [request, env, context]);
    if (!isResponse(response)) {
      native.fail(invocation, 'response', kind(response), '');
      return;
    }
    const state = stateOf(response);
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
      const memory = error instanceof InternalError && error.message === 'out of memory';
      return { memory, message, stack: `${error.stack ?? ''}`.toWellFormed() };
    }
    return { memory: error === null, message: `${String(error)} was thrown`.toWellFormed(), stack: '' };
  } catch {
    return { memory: false, message: 'something was thrown that cannot be shown', stack: '' };
  }
}
