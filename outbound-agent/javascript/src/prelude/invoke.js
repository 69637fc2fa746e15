// Calls the module's handlers and hands on what they give.

import { keepShapesOf, native, promised } from 'outbound:native';
import { demand, fail } from 'outbound:convert';
import { take } from 'outbound:body';
import { forgetNewest, giveUnseen, noticeGiven } from 'outbound:fetch';
import { wireIn } from 'outbound:headers';
import { PromiseOf } from 'outbound:primordials';
import { incoming } from 'outbound:request';
import { isResponse, stateOf, untouched } from 'outbound:response';
import { breakOffSocket, isDecided, makeSocket } from 'outbound:late';

const { assign, defineProperty } = Object;
const InternalErrorOf = InternalError;
let bindings = {};
let target = null;
let targetIsClass = false;

export function bind(env) {
  bindings = env;
}

/** What `env` has whatever the module is called for. */
export const environment = () => bindings;

/**
 * Takes the module's export that answers; without a name, any that could will do. Gives whether
 * one decides about tunnels.
 */
export function adopt(namespace, entrypoint) {
  if (entrypoint === '') {
    const able = Object.values(namespace).filter(handles);
    if (able.length === 0) fail('module', 'no export of it has a fetch or a connect handler');
    return able.some(connects);
  }
  target = namespace[entrypoint];
  if (target === undefined || target === null) fail('module', `has no export "${entrypoint}"`);
  if (!handles(target)) {
    fail('module', `its export "${entrypoint}" has neither a fetch nor a connect handler`);
  }
  targetIsClass = isClass(target);
  return connects(target);
}

const has = (value, name) => typeof value?.[name] === 'function';
const handles = (value) => has(value, 'fetch') || has(value, 'connect') || isClass(value);
const connects = (value) => has(value, 'connect') || (isClass(value) && has(value.prototype, 'connect'));
const isClass = (value) =>
  typeof value === 'function' && (has(value.prototype, 'fetch') || has(value.prototype, 'connect'));

class ExecutionContext {
  #invocation;

  constructor(invocation) {
    this.#invocation = invocation;
  }

  /** Made when it is asked for: hardly anybody does. */
  get props() {
    const props = {};
    defineProperty(this, 'props', { value: props, writable: true, enumerable: true, configurable: true });
    return props;
  }

  waitUntil(promise) {
    demand('ctx.waitUntil', arguments.length, 1);
    const invocation = this.#invocation;
    native.hold(invocation, promised.resolve(promise));
    noticeGiven(invocation);
  }

  /** Kept for compatibility: an exception never lets a request through undecided. */
  passThroughOnException() {}
}

/** The `env` of calls that have these values of their own. */
export const surround = (values) => assign({}, bindings, values);

/** Calls a handler; `undefined` where there is none. */
function call(invocation, name, argument, env) {
  const context = new ExecutionContext(invocation);
  const handler = targetIsClass ? new target(context, env) : target;
  if (!has(handler, name)) {
    native.fail(invocation, name, '', '');
    return missing;
  }
  return targetIsClass ? handler[name](argument) : handler[name](argument, env, context);
}

const missing = Symbol('missing');

/** Gives the promise that the handler gave, if it gave one. */
export function dispatch(invocation, number, env, hasOwnUrl) {
  try {
    const request = incoming(number);
    const own = hasOwnUrl ? assign({}, env, { url: native.requestUrl(number) }) : env;
    forgetNewest();
    const result = call(invocation, 'fetch', request, own);
    if (result === missing || giveUnseen(invocation, result, seen)) return;
    if (result instanceof PromiseOf) return result;
    if (isResponse(result)) answer(invocation, result);
    else answerLater(invocation, result);
  } catch (error) {
    failed(invocation, error);
  }
}

/** Called by Rust with why a promise was rejected that `ctx.waitUntil` was given. */
export function complain(invocation, error) {
  const { memory, message } = describe(error);
  native.console(2, `ctx.waitUntil: ${message}`);
  if (memory) native.fail(invocation, 'memory', '', '');
}

/** Called by Rust with what became of the promise that a handler gave. */
export function give(invocation, isKept, result) {
  try {
    if (isKept) answer(invocation, result);
    else failed(invocation, result);
  } catch (error) {
    failed(invocation, error);
  }
}

/** Somebody waits for what was to be given unseen. */
function seen(invocation, result) {
  native.giveUnseen(invocation, 0);
  answerLater(invocation, result);
}

/** Waits for what is no promise of the engine's, or was to be given unseen. */
async function answerLater(invocation, result) {
  try {
    answer(invocation, await result);
  } catch (error) {
    failed(invocation, error);
  }
}

function answer(invocation, result) {
  if (!isResponse(result)) {
    native.fail(invocation, 'response', kind(result), '');
    return;
  }
  const number = untouched(result);
  if (number !== 0) {
    native.hand(invocation, number);
    return;
  }
  const state = stateOf(result);
  if (state.status === 0) {
    native.fail(invocation, 'response', 'Response.error()', '');
    return;
  }
  native.reply(invocation, state.status, state.statusText || undefined, wireIn(state), take(state.body, 'Response'));
}

/** Hands a tunnel to the connect handler; one that decides nothing refuses. */
export async function tunnel(invocation, hostname, port, body, env) {
  const socket = makeSocket(invocation, hostname, port, body);
  try {
    const result = call(invocation, 'connect', socket, env);
    if (result === missing) return;
    await result;
    if (!isDecided(socket)) socket.refuse('the connect handler decided nothing');
  } catch (error) {
    failed(invocation, error);
    breakOffSocket(socket, 'the connect handler threw');
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
    .filter((line) => /:[1-9][0-9]*:[0-9]+\)?$/.test(line))
    .join('\n');

keepShapesOf(new ExecutionContext(0));
