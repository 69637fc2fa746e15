// Maps on env whose entries expire.

import { native, finish } from 'outbound:native';
import { demand, dictionary, fail, text } from 'outbound:convert';
import { load } from 'outbound:late';

const { milliseconds } = load('outbound:duration');
const inside = {};
const MOST_ENTRIES = 10000;

/** A small map whose entries expire; it lives as long as the isolate. */
class Cache {
  #entries = new Map();

  constructor(key) {
    if (key !== inside) fail('Cache', 'cannot be constructed');
  }
  get(key) {
    demand('Cache.get', arguments.length, 1);
    const name = text(key, 'Cache.get', 'key');
    const entry = this.#entries.get(name);
    if (entry === undefined) return undefined;
    if (entry.until > native.elapsed()) return entry.value;
    this.#entries.delete(name);
    return undefined;
  }
  set(key, value, options) {
    demand('Cache.set', arguments.length, 3);
    const { ttl } = dictionary(options, 'Cache.set', 'options');
    const until = native.elapsed() + milliseconds(ttl, 'Cache.set', 'options.ttl');
    const name = text(key, 'Cache.set', 'key');
    this.#entries.delete(name);
    if (this.#entries.size >= MOST_ENTRIES) this.#entries.delete(this.#entries.keys().next().value);
    this.#entries.set(name, { value, until });
  }
  delete(key) {
    demand('Cache.delete', arguments.length, 1);
    return this.#entries.delete(text(key, 'Cache.delete', 'key'));
  }
}
finish(Cache);

export const makeCache = () => new Cache(inside);
