// Timers, microtasks, performance.

import { forget, native, then, wait, apply, uncurry } from 'outbound:native';
import { fail } from 'outbound:convert';

const mapSet = uncurry(Map.prototype.set);
const mapGet = uncurry(Map.prototype.get);
const mapDelete = uncurry(Map.prototype.delete);
const PromiseOf = Promise;
const running = new Map();
let last = 0;

function start(api, callback, delay, values, again) {
  if (typeof callback !== 'function') fail(api, 'callback is no function');
  const milliseconds = Number(delay);
  const number = ++last;
  const tick = () => {
    const operation = native.timer(milliseconds > 0 ? milliseconds : 0);
    mapSet(running, number, operation);
    then(wait(operation), () => {
      if (mapGet(running, number) !== operation) return;
      mapDelete(running, number);
      if (again) tick();
      apply(callback, globalThis, values);
    });
  };
  tick();
  return number;
}

export function setTimeout(callback, delay = 0, ...values) {
  return start('setTimeout', callback, delay, values, false);
}
export function setInterval(callback, delay = 0, ...values) {
  return start('setInterval', callback, delay, values, true);
}
export function clearTimeout(number = undefined) {
  const operation = mapGet(running, number);
  if (operation === undefined) return;
  mapDelete(running, number);
  native.forget(operation);
  forget([operation]);
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
