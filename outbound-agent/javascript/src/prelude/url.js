// URL: parsed and changed in Rust; the parts are kept here.

import { native, finish } from 'outbound:native';
import { demand, fail, usv } from 'outbound:convert';
import { load } from 'outbound:late';
import { defineProperty, getOwnPropertyDescriptor, split } from 'outbound:primordials';

const PARTS = ['href', 'origin', 'protocol', 'username', 'password', 'host', 'hostname', 'port', 'pathname', 'search', 'hash'];

class URL {
  #href;
  /** All of them, once a second one was asked for. */
  #parts = null;
  #isAsked = false;
  #search = null;

  constructor(url, base = undefined) {
    demand('URL', arguments.length, 1);
    const text = usv(url, 'URL', 'url');
    const href = native.url(text, base === undefined ? undefined : usv(base, 'URL', 'base'));
    if (href === undefined) {
      fail('URL', `url ${JSON.stringify(text)} is no valid URL${base === undefined ? '' : ` (base ${JSON.stringify(`${base}`)})`}`);
    }
    this.#href = href;
  }
  static {
    for (let i = 0; i < PARTS.length; i++) {
      const name = PARTS[i];
      const get = {
        get [name]() {
          return i === 0 ? this.#href : this.#part(i);
        },
      };
      const set = {
        set [name](value) {
          this.#set(name, usv(value, `URL.${name}`, 'value'));
        },
      };
      defineProperty(URL.prototype, name, {
        get: getOwnPropertyDescriptor(get, name).get,
        set: name === 'origin' ? undefined : getOwnPropertyDescriptor(set, name).set,
        enumerable: true,
        configurable: true,
      });
    }
  }
  #part(i) {
    if (this.#parts === null) {
      if (!this.#isAsked) {
        this.#isAsked = true;
        return native.urlPart(this.#href, i);
      }
      this.#parts = split(native.urlParts(this.#href), '\n');
    }
    return this.#parts[i];
  }
  #become(parts) {
    this.#parts = split(parts, '\n');
    this.#href = this.#parts[0];
  }
  #set(name, value) {
    const parts = native.urlSet(this.#href, name, value);
    if (parts === undefined) {
      if (name === 'href') fail('URL.href', `value ${JSON.stringify(value)} is no valid URL`);
      return;
    }
    this.#become(parts);
    if (this.#search !== null) load('outbound:searchparams').refresh(this.#search, this.#parts[9].slice(1));
  }
  get searchParams() {
    if (this.#search === null) {
      const { URLSearchParams, tie } = load('outbound:searchparams');
      this.#search = new URLSearchParams(this.#part(9));
      tie(this.#search, (text) => this.#become(native.urlSet(this.#href, 'search', text)));
    }
    return this.#search;
  }
  toString() {
    return this.#href;
  }
  toJSON() {
    return this.#href;
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
