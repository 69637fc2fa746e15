// Calls the module's handlers and hands on what they give.

import { apply, native, promised, then } from 'outbound:native';
import { demand, fail } from 'outbound:convert';
import { take } from 'outbound:body';
import { wire } from 'outbound:headers';
import { incoming } from 'outbound:request';
import { isResponse, stateOf } from 'outbound:response';
import { breakOff, isDecided, makeSocket } from 'outbound:socket';

const { assign } = Object;
const InternalErrorOf = InternalError;
let bindings = {};
let target = null;
let targetIsClass = false;

export function bind(env) {
  bindings = env;
}

/** What `env` has whatever the module is called for. */
export const environment = () => bindings;

/** Takes the module's export that answers; without a name, any that could will do. */
export function adopt(namespace, entrypoint) {
  if (entrypoint === '') {
    for (const name of Object.keys(namespace)) if (handles(namespace[name])) return;
    fail('module', 'no export of it has a fetch or a connect handler');
  }
  target = namespace[entrypoint];
  if (target === undefined || target === null) fail('module', `has no export "${entrypoint}"`);
  if (!handles(target)) {
    fail('module', `its export "${entrypoint}" has neither a fetch nor a connect handler`);
  }
  targetIsClass = isClass(target);
}

const has = (value, name) => typeof value?.[name] === 'function';
const handles = (value) => has(value, 'fetch') || has(value, 'connect') || isClass(value);
const isClass = (value) =>
  typeof value === 'function' && (has(value.prototype, 'fetch') || has(value.prototype, 'connect'));

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

/** Calls a handler with its first argument made by `make`. */
async function call(invocation, name, make, parameters) {
  const env = parameters === undefined ? bindings : assign({}, bindings, parameters);
  const context = new ExecutionContext(invocation);
  const handler = targetIsClass ? new target(context, env) : target;
  if (!has(handler, name)) {
    native.fail(invocation, name, '', '');
    return undefined;
  }
  const given = make();
  // Awaited here, so that nothing asks a promise for its `then` in the module's sight.
  return { given, result: await apply(handler[name], handler, targetIsClass ? [given] : [given, env, context]) };
}

export async function dispatch(invocation, method, url, head, body, parameters) {
  try {
    const called = await call(invocation, 'fetch', () => incoming(method, url, head, body), parameters);
    if (called === undefined) return;
    const { result } = called;
    if (!isResponse(result)) {
      native.fail(invocation, 'response', kind(result), '');
      return;
    }
    const state = stateOf(result);
    if (state.status === 0) {
      native.fail(invocation, 'response', 'Response.error()', '');
      return;
    }
    native.reply(invocation, state.status, state.statusText || undefined, wire(state.headers), take(state.body, 'Response'));
  } catch (error) {
    failed(invocation, error);
  }
}

/** Hands a tunnel to the connect handler; one that decides nothing refuses. */
export async function tunnel(invocation, hostname, port, body, parameters) {
  let socket = null;
  const make = () => (socket = makeSocket(invocation, hostname, port, body));
  try {
    const called = await call(invocation, 'connect', make, parameters);
    if (called !== undefined && !isDecided(socket)) socket.refuse('the connect handler decided nothing');
  } catch (error) {
    failed(invocation, error);
    if (socket !== null) breakOff(socket, 'the connect handler threw');
  }
}

function failed(invocation, error) {
  const { memory, message, stack } = describe(error);
  native.fail(invocation, memory ? 'memory' : 'exception', message, stack);
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

/** The frames of the module: those of the platform have no place. */
const own = (stack) =>
  stack
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => /:[0-9]+:[0-9]+\)?$/.test(line))
    .join('\n');
