// Timers, microtasks, performance.

import { mapDelete, mapGet, mapSet, native, then, wait } from 'outbound:native';
import { fail } from 'outbound:convert';
import { load } from 'outbound:late';
import { MapOf, PromiseOf, apply, mapForEach, sort } from 'outbound:primordials';

/** Timers by their number, and their numbers by the native operation that each waits for. */
const timers = new MapOf();
const numbers = new MapOf();
let last = 0;

function start(api, callback, delay, values, again) {
  if (typeof callback !== 'function') fail(api, 'callback is no function');
  const milliseconds = Number(delay);
  const timer = {
    number: ++last,
    owner: native.invocation(),
    delay: milliseconds > 0 ? milliseconds : 0,
    callback,
    values,
    again,
    due: 0,
    operation: 0,
  };
  arm(timer);
  return timer.number;
}

function arm(timer) {
  const operation = native.timer(timer.delay);
  timer.due = native.elapsed() + timer.delay;
  timer.operation = operation;
  mapSet(timers, timer.number, timer);
  mapSet(numbers, operation, timer.number);
  then(wait(operation), () => {
    if (mapGet(timers, timer.number) === timer && timer.operation === operation) fire(timer);
  });
}

/** Runs a timer, and before it those of its invocation that were due before. */
function fire(timer) {
  const due = [];
  mapForEach(timers, (other) => {
    const before = other.due < timer.due || (other.due === timer.due && other.number <= timer.number);
    if (other.owner === timer.owner && before) due[due.length] = other;
  });
  sort(due, (a, b) => a.due - b.due || a.number - b.number);
  for (let i = 0; i < due.length; i++) {
    const next = due[i];
    if (mapGet(timers, next.number) !== next) continue;
    clearTimeout(next.number);
    if (next.again) arm(next);
    try {
      apply(next.callback, globalThis, next.values);
    } catch (error) {
      load('outbound:console').console.error('uncaught in a timer:', error);
    }
  }
}

/** Operations that ended with their invocation, and their timers with them. */
export function forgetTimers(operations) {
  for (let i = 0; i < operations.length; i++) {
    const number = mapGet(numbers, operations[i]);
    if (number === undefined) continue;
    mapDelete(numbers, operations[i]);
    mapDelete(timers, number);
  }
}

export function setTimeout(callback, delay = 0, ...values) {
  return start('setTimeout', callback, delay, values, false);
}
export function setInterval(callback, delay = 0, ...values) {
  return start('setInterval', callback, delay, values, true);
}
export function clearTimeout(number = undefined) {
  const timer = mapGet(timers, number);
  if (timer === undefined) return;
  mapDelete(timers, number);
  mapDelete(numbers, timer.operation);
  native.forget(timer.operation);
}
export const clearInterval = clearTimeout;

export function queueMicrotask(callback) {
  if (typeof callback !== 'function') fail('queueMicrotask', 'callback is no function');
  then(PromiseOf.resolve(), () => {
    callback();
  });
}

export const performance = {
  now: () => native.elapsed(),
  get timeOrigin() {
    return native.timeOrigin;
  },
  toJSON() {
    return { timeOrigin: native.timeOrigin };
  },
};
