// URLSearchParams: a list of pairs, tied to a URL or not.

import { native, finish } from 'outbound:native';
import { demand, fail, pairs, usv } from 'outbound:convert';
import { defineProperty, iterator, sort } from 'outbound:primordials';

let isSearchParams, tie, refresh;

class URLSearchParams {
  #pairs = [];
  #changed = null;

  constructor(init = '') {
    if (init === null || (typeof init !== 'object' && typeof init !== 'function')) {
      const text = usv(init, 'URLSearchParams', 'init');
      this.#pairs = parsed(text.startsWith('?') ? text.slice(1) : text);
      return;
    }
    for (const [name, value] of pairs(init, 'URLSearchParams', 'init')) this.append(name, value);
  }
  static {
    isSearchParams = (value) => typeof value === 'object' && value !== null && #pairs in value;
    /** Has `changed` called with the new text whenever something changes. */
    tie = (params, changed) => {
      params.#changed = changed;
    };
    refresh = (params, query) => {
      params.#pairs = parsed(query);
    };
  }
  #update() {
    if (this.#changed !== null) this.#changed(this.toString());
  }
  get size() {
    return this.#pairs.length;
  }
  append(name, value) {
    demand('URLSearchParams.append', arguments.length, 2);
    this.#pairs.push([usv(name, 'URLSearchParams.append', 'name'), usv(value, 'URLSearchParams.append', 'value')]);
    this.#update();
  }
  delete(name, value = undefined) {
    demand('URLSearchParams.delete', arguments.length, 1);
    const key = usv(name, 'URLSearchParams.delete', 'name');
    const wanted = value === undefined ? undefined : usv(value, 'URLSearchParams.delete', 'value');
    this.#pairs = this.#pairs.filter(([n, v]) => n !== key || (wanted !== undefined && v !== wanted));
    this.#update();
  }
  get(name) {
    demand('URLSearchParams.get', arguments.length, 1);
    const key = usv(name, 'URLSearchParams.get', 'name');
    return this.#pairs.find(([n]) => n === key)?.[1] ?? null;
  }
  getAll(name) {
    demand('URLSearchParams.getAll', arguments.length, 1);
    const key = usv(name, 'URLSearchParams.getAll', 'name');
    return this.#pairs.filter(([n]) => n === key).map(([, v]) => v);
  }
  has(name, value = undefined) {
    demand('URLSearchParams.has', arguments.length, 1);
    const key = usv(name, 'URLSearchParams.has', 'name');
    const wanted = value === undefined ? undefined : usv(value, 'URLSearchParams.has', 'value');
    return this.#pairs.some(([n, v]) => n === key && (wanted === undefined || v === wanted));
  }
  set(name, value) {
    demand('URLSearchParams.set', arguments.length, 2);
    const key = usv(name, 'URLSearchParams.set', 'name');
    const text = usv(value, 'URLSearchParams.set', 'value');
    const place = this.#pairs.findIndex(([n]) => n === key);
    if (place < 0) this.#pairs.push([key, text]);
    else {
      this.#pairs[place] = [key, text];
      this.#pairs = this.#pairs.filter(([n], at) => at <= place || n !== key);
    }
    this.#update();
  }
  sort() {
    sort(this.#pairs, ([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    this.#update();
  }
  forEach(callback, thisArgument = undefined) {
    demand('URLSearchParams.forEach', arguments.length, 1);
    if (typeof callback !== 'function') fail('URLSearchParams.forEach', 'callback is no function');
    for (const [name, value] of this) Reflect.apply(callback, thisArgument, [value, name, this]);
  }
  *keys() {
    for (let i = 0; i < this.#pairs.length; i++) yield this.#pairs[i][0];
  }
  *values() {
    for (let i = 0; i < this.#pairs.length; i++) yield this.#pairs[i][1];
  }
  *entries() {
    for (let i = 0; i < this.#pairs.length; i++) yield [this.#pairs[i][0], this.#pairs[i][1]];
  }
  toString() {
    const flat = [];
    for (const [name, value] of this.#pairs) flat.push(name, value);
    return native.formEncode(flat);
  }
}
defineProperty(URLSearchParams.prototype, iterator, {
  value: URLSearchParams.prototype.entries,
  writable: true,
  configurable: true,
});
finish(URLSearchParams);

function parsed(query) {
  const flat = native.formDecode(query);
  const found = [];
  for (let i = 0; i < flat.length; i += 2) found.push([flat[i], flat[i + 1]]);
  return found;
}

export { URLSearchParams, isSearchParams, tie, refresh };
