// AbortController and AbortSignal.

import { finish } from 'outbound:native';
import { demand, fail } from 'outbound:convert';
import { load } from 'outbound:late';
import { DOMExceptionOf, apply } from 'outbound:primordials';

const { Event, EventTarget } = load('outbound:event');
const inside = {};

let isSignal, onAbort, signalAbort, makeSignal, follow;

class AbortSignal extends EventTarget {
  #aborted = false;
  #reason = undefined;
  #steps = [];
  /** Signals that are aborted with this one. */
  #followers = [];
  onabort = null;

  constructor(key) {
    if (key !== inside) fail('AbortSignal', 'cannot be constructed; use AbortController');
    super();
  }

  static {
    isSignal = (value) => typeof value === 'object' && value !== null && #aborted in value;
    makeSignal = () => new AbortSignal(inside);
    /** Runs `step` with the reason; gives what takes it back. */
    onAbort = (signal, step) => {
      if (signal.#aborted) {
        step(signal.#reason);
        return () => {};
      }
      signal.#steps.push(step);
      return () => {
        signal.#steps = signal.#steps.filter((known) => known !== step);
      };
    };
    signalAbort = (signal, reason) => {
      const all = [];
      signal.#mark(reason === undefined ? new DOMExceptionOf('This operation was aborted', 'AbortError') : reason, all);
      for (let i = 0; i < all.length; i++) all[i].#tell();
    };
    /** Has `signal` aborted with `leader`, and told after it. */
    follow = (signal, leader) => {
      if (leader.#aborted) signalAbort(signal, leader.#reason);
      else leader.#followers.push(signal);
    };
  }

  /** Nobody is told of an abort before all that it takes along are aborted. */
  #mark(reason, all) {
    if (this.#aborted) return;
    this.#aborted = true;
    this.#reason = reason;
    all[all.length] = this;
    const followers = this.#followers;
    this.#followers = [];
    for (let i = 0; i < followers.length; i++) followers[i].#mark(reason, all);
  }
  #tell() {
    const steps = this.#steps;
    this.#steps = [];
    for (let i = 0; i < steps.length; i++) steps[i](this.#reason);
    const event = new Event('abort');
    if (typeof this.onabort === 'function') apply(this.onabort, this, [event]);
    this.dispatchEvent(event);
  }

  static abort(reason = undefined) {
    const signal = makeSignal();
    signalAbort(signal, reason);
    return signal;
  }
  static timeout(milliseconds) {
    demand('AbortSignal.timeout', arguments.length, 1);
    const delay = Number(milliseconds);
    if (!(delay >= 0 && delay <= Number.MAX_SAFE_INTEGER)) fail('AbortSignal.timeout', 'milliseconds is no number of 0 or more');
    const signal = makeSignal();
    load('outbound:timers').setTimeout(() => signalAbort(signal, new DOMExceptionOf('The operation timed out', 'TimeoutError')), delay);
    return signal;
  }
  static any(signals) {
    demand('AbortSignal.any', arguments.length, 1);
    const all = [...signals];
    for (const each of all) if (!isSignal(each)) fail('AbortSignal.any', 'signals has an entry that is no AbortSignal');
    const signal = makeSignal();
    for (const each of all) {
      if (each.#aborted) {
        signalAbort(signal, each.#reason);
        return signal;
      }
    }
    for (const each of all) follow(signal, each);
    return signal;
  }
  get aborted() {
    return this.#aborted;
  }
  get reason() {
    return this.#reason;
  }
  throwIfAborted() {
    if (this.#aborted) throw this.#reason;
  }
}
finish(AbortSignal);

class AbortController {
  #signal = makeSignal();

  get signal() {
    return this.#signal;
  }
  abort(reason = undefined) {
    signalAbort(this.#signal, reason);
  }
}
finish(AbortController);

export { AbortController, AbortSignal, isSignal, onAbort, makeSignal, signalAbort, follow };
