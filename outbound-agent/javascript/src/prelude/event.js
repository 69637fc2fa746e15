// Event and EventTarget, as far as there is no tree of nodes.

import { finish } from 'outbound:native';
import { demand, dictionary, fail, text } from 'outbound:convert';
import { apply } from 'outbound:primordials';

let begin, end, stopsAll;

class Event {
  #type;
  #cancelable;
  #bubbles;
  #prevented = false;
  #stopped = false;
  #target = null;

  constructor(type, init = undefined) {
    demand('Event', arguments.length, 1);
    const { cancelable, bubbles } = dictionary(init, 'Event', 'init');
    this.#type = text(type, 'Event', 'type');
    this.#cancelable = Boolean(cancelable);
    this.#bubbles = Boolean(bubbles);
  }
  static {
    begin = (event, target) => {
      event.#target = target;
    };
    end = (event) => !event.#prevented;
    stopsAll = (event) => event.#stopped;
  }
  get type() {
    return this.#type;
  }
  get target() {
    return this.#target;
  }
  get currentTarget() {
    return this.#target;
  }
  get bubbles() {
    return this.#bubbles;
  }
  get cancelable() {
    return this.#cancelable;
  }
  get defaultPrevented() {
    return this.#prevented;
  }
  preventDefault() {
    if (this.#cancelable) this.#prevented = true;
  }
  stopPropagation() {}
  stopImmediatePropagation() {
    this.#stopped = true;
  }
}
finish(Event);

class CustomEvent extends Event {
  #detail;
  constructor(type, init = undefined) {
    super(type, init);
    this.#detail = init?.detail ?? null;
  }
  get detail() {
    return this.#detail;
  }
}
finish(CustomEvent);

class EventTarget {
  #listeners = [];

  addEventListener(type, callback, options = undefined) {
    demand('EventTarget.addEventListener', arguments.length, 2);
    if (callback === null || callback === undefined) return;
    if (typeof callback !== 'function' && typeof callback !== 'object') {
      fail('EventTarget.addEventListener', 'callback is neither a function nor an object');
    }
    const { once = false, signal } = typeof options === 'object' && options !== null ? options : {};
    if (signal !== undefined && signal.aborted) return;
    const name = `${type}`;
    for (const known of this.#listeners) if (known.name === name && known.callback === callback) return;
    this.#listeners.push({ name, callback, once });
    signal?.addEventListener('abort', () => this.removeEventListener(name, callback), { once: true });
  }
  removeEventListener(type, callback) {
    const name = `${type}`;
    this.#listeners = this.#listeners.filter((known) => known.name !== name || known.callback !== callback);
  }
  dispatchEvent(event) {
    if (!(event instanceof Event)) fail('EventTarget.dispatchEvent', 'event is no Event');
    begin(event, this);
    for (const listener of [...this.#listeners]) {
      if (listener.name !== event.type || stopsAll(event)) continue;
      if (listener.once) this.removeEventListener(listener.name, listener.callback);
      const { callback } = listener;
      try {
        if (typeof callback === 'function') apply(callback, this, [event]);
        else callback.handleEvent(event);
      } catch (error) {
        globalThis.console.error(error);
      }
    }
    return end(event);
  }
}
finish(EventTarget);

export { Event, CustomEvent, EventTarget };
