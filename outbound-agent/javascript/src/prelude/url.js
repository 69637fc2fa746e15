// URL: parsed and changed in Rust; the parts are kept here.

import { native, finish, uncurry } from 'outbound:native';
import { demand, fail, usv } from 'outbound:convert';
import { URLSearchParams, refresh, tie } from 'outbound:searchparams';

const split = uncurry(String.prototype.split);
const PARTS = ['href', 'origin', 'protocol', 'username', 'password', 'host', 'hostname', 'port', 'pathname', 'search', 'hash'];

class URL {
  #parts;
  #search = null;

  constructor(url, base = undefined) {
    demand('URL', arguments.length, 1);
    const text = usv(url, 'URL', 'url');
    const parts = native.url(text, base === undefined ? undefined : usv(base, 'URL', 'base'));
    if (parts === undefined) {
      fail('URL', `url ${JSON.stringify(text)} is no valid URL${base === undefined ? '' : ` (base ${JSON.stringify(`${base}`)})`}`);
    }
    this.#parts = split(parts, '\n');
  }
  static {
    for (let i = 0; i < PARTS.length; i++) {
      const name = PARTS[i];
      const get = {
        get [name]() {
          return this.#parts[i];
        },
      };
      const set = {
        set [name](value) {
          this.#set(name, usv(value, `URL.${name}`, 'value'));
        },
      };
      Object.defineProperty(URL.prototype, name, {
        get: Object.getOwnPropertyDescriptor(get, name).get,
        set: name === 'origin' ? undefined : Object.getOwnPropertyDescriptor(set, name).set,
        enumerable: true,
        configurable: true,
      });
    }
  }
  #set(name, value) {
    const parts = native.urlSet(this.#parts[0], name, value);
    if (parts === undefined) {
      if (name === 'href') fail('URL.href', `value ${JSON.stringify(value)} is no valid URL`);
      return;
    }
    this.#parts = split(parts, '\n');
    if (this.#search !== null) refresh(this.#search, this.#parts[9].slice(1));
  }
  get searchParams() {
    if (this.#search === null) {
      this.#search = new URLSearchParams(this.#parts[9]);
      tie(this.#search, (text) => {
        this.#parts = split(native.urlSet(this.#parts[0], 'search', text), '\n');
      });
    }
    return this.#search;
  }
  toString() {
    return this.#parts[0];
  }
  toJSON() {
    return this.#parts[0];
  }
  static canParse(url, base = undefined) {
    demand('URL.canParse', arguments.length, 1);
    return native.url(usv(url, 'URL.canParse', 'url'), base === undefined ? undefined : usv(base, 'URL.canParse', 'base')) !== undefined;
  }
  static parse(url, base = undefined) {
    demand('URL.parse', arguments.length, 1);
    return URL.canParse(url, base) ? new URL(url, base) : null;
  }
}
finish(URL);

export { URL };
