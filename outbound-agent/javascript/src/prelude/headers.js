// Headers: a list of fields with a guard. One that came from outside is read when it is asked for.

import { native, uncurry, finish } from 'outbound:native';
import { demand, fail, octets, pairs } from 'outbound:convert';
import { sort, split, test } from 'outbound:primordials';

const toLowerCase = uncurry(String.prototype.toLowerCase);
const join = uncurry(Array.prototype.join);
const replace = uncurry(String.prototype.replace);
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const spaceAround = /^[\t\n\r ]+|[\t\n\r ]+$/g;
const forbidden = /[\0\r\n]/;

// Ways in for the other classes of the prelude.
let headersOf, copyHeaders, setImmutable, isHeaders, listOf, wire, addType, share;

// Those of a request or a response are `state.headers`: null as long as there is nothing but the
// type of its body, a number as long as they are a head in Rust, and otherwise an object.

class Headers {
  /** Number of a head in Rust that was not looked into yet; 0 when `#list` is all there is. */
  #head = 0;
  /** Names in lower case and values in turn. */
  #list = [];
  #immutable = false;

  constructor(init = undefined) {
    if (init === undefined) return;
    if (init === null) fail('Headers', 'init is null');
    fill(this, init, 'Headers');
  }

  static {
    headersOf = (head) => {
      const headers = new Headers();
      headers.#head = head;
      return headers;
    };
    copyHeaders = (from) => {
      const headers = new Headers();
      headers.#head = from.#head;
      headers.#list = from.#head === 0 ? copy(from.#list) : [];
      return headers;
    };
    setImmutable = (headers) => {
      headers.#immutable = true;
    };
    isHeaders = (value) => typeof value === 'object' && value !== null && #list in value;
    listOf = (headers) => headers.#fields();
    /** Gives empty headers what others have, unlooked at where they are. */
    share = (headers, from) => {
      if (headers.#head !== 0 || headers.#list.length > 0) return false;
      headers.#head = from.#head;
      headers.#list = from.#head === 0 ? copy(from.#list) : [];
      return true;
    };
    /** The content type that a body brings, unless there is one. */
    addType = (headers, type) => {
      const list = headers.#fields();
      if (lookup(list, 'content-type') !== null) return;
      list[list.length] = 'content-type';
      list[list.length] = type;
    };
    wire = (headers) => {
      if (headers.#head !== 0) return headers.#head;
      return join(headers.#list, '\n');
    };
  }

  #fields() {
    if (this.#head !== 0) {
      const lines = native.headText(this.#head);
      this.#list = lines === '' ? [] : split(lines, '\n');
      this.#head = 0;
    }
    return this.#list;
  }

  #writable(api) {
    if (this.#immutable) {
      fail(api, 'these headers are immutable; make a copy: new Headers(headers)');
    }
    return this.#fields();
  }

  append(name, value) {
    demand('Headers.append', arguments.length, 2);
    const key = nameOf(name, 'Headers.append');
    const text = valueOf(value, 'Headers.append');
    const list = this.#writable('Headers.append');
    list[list.length] = key;
    list[list.length] = text;
  }

  delete(name) {
    demand('Headers.delete', arguments.length, 1);
    const key = nameOf(name, 'Headers.delete');
    const list = this.#writable('Headers.delete');
    let kept = 0;
    for (let i = 0; i < list.length; i += 2) {
      if (list[i] === key) continue;
      list[kept] = list[i];
      list[kept + 1] = list[i + 1];
      kept += 2;
    }
    list.length = kept;
  }

  get(name) {
    demand('Headers.get', arguments.length, 1);
    return lookup(this.#fields(), nameOf(name, 'Headers.get'));
  }

  getSetCookie() {
    const list = this.#fields();
    const found = [];
    for (let i = 0; i < list.length; i += 2) {
      if (list[i] === 'set-cookie') found[found.length] = list[i + 1];
    }
    return found;
  }

  has(name) {
    demand('Headers.has', arguments.length, 1);
    return lookup(this.#fields(), nameOf(name, 'Headers.has')) !== null;
  }

  set(name, value) {
    demand('Headers.set', arguments.length, 2);
    const key = nameOf(name, 'Headers.set');
    const text = valueOf(value, 'Headers.set');
    const list = this.#writable('Headers.set');
    let kept = 0;
    let done = false;
    for (let i = 0; i < list.length; i += 2) {
      const same = list[i] === key;
      if (same && done) continue;
      list[kept] = list[i];
      list[kept + 1] = same ? text : list[i + 1];
      done ||= same;
      kept += 2;
    }
    list.length = kept;
    if (!done) {
      list[kept] = key;
      list[kept + 1] = text;
    }
  }

  forEach(callback, thisArgument = undefined) {
    demand('Headers.forEach', arguments.length, 1);
    if (typeof callback !== 'function') fail('Headers.forEach', 'callback is no function');
    for (const [name, value] of this) Reflect.apply(callback, thisArgument, [value, name, this]);
  }

  keys() {
    return iterate(this.#fields.bind(this), (name) => name);
  }

  values() {
    return iterate(this.#fields.bind(this), (name, value) => value);
  }

  entries() {
    return iterate(this.#fields.bind(this), (name, value) => [name, value]);
  }
}
Object.defineProperty(Headers.prototype, Symbol.iterator, {
  value: Headers.prototype.entries,
  writable: true,
  configurable: true,
});
finish(Headers);

export { Headers, copyHeaders, setImmutable, isHeaders, addType };

/** The headers of a request or a response as an object. */
export function headersIn(state) {
  const { headers } = state;
  if (typeof headers === 'number') {
    state.headers = headersOf(headers);
    setImmutable(state.headers);
  } else if (headers === null) {
    state.headers = new Headers();
    const { type } = state.body;
    if (type !== null) addType(state.headers, type);
  }
  return state.headers;
}

/** A copy of them that can be changed. */
export function copyIn({ headers }) {
  if (headers === null) return null;
  return typeof headers === 'number' ? headersOf(headers) : copyHeaders(headers);
}

/** As Rust takes them: the number of a head there, or lines. */
export function wireIn({ headers, body }) {
  if (headers === null) return body.type === null ? '' : `content-type\n${body.type}`;
  return typeof headers === 'number' ? headers : wire(headers);
}

/** Puts what a `HeadersInit` says into headers. */
export function fill(headers, init, api) {
  if (isHeaders(init)) {
    if (share(headers, init)) return;
    const list = listOf(init);
    for (let i = 0; i < list.length; i += 2) headers.append(list[i], list[i + 1]);
    return;
  }
  const given = pairs(init, api, 'init');
  for (let i = 0; i < given.length; i++) headers.append(given[i][0], given[i][1]);
}

function copy(list) {
  const copied = [];
  for (let i = 0; i < list.length; i++) copied[i] = list[i];
  return copied;
}

/** Names that were found to be valid, as they are; the most usual ones are there soon. */
const valid = { __proto__: null };
let validCount = 0;
const MOST_VALID = 256;
/** A tenant's names may be long. */
const LONGEST_VALID = 64;
const simpleValue = /^[!-~](?:[ -~]*[!-~])?$/;

function nameOf(value, api) {
  if (typeof value === 'string') {
    const known = valid[value];
    if (known !== undefined) return known;
  }
  const name = octets(value, api, 'name');
  if (!test(token, name)) fail(api, `name ${JSON.stringify(name)} is not a valid header name`);
  const lower = toLowerCase(name);
  if (validCount < MOST_VALID && name.length <= LONGEST_VALID) {
    valid[name] = lower;
    validCount++;
  }
  return lower;
}

function valueOf(value, api) {
  if (typeof value === 'string' && test(simpleValue, value)) return value;
  const text = replace(octets(value, api, 'value'), spaceAround, '');
  if (test(forbidden, text)) fail(api, 'value has a line break or a NUL');
  return text;
}

function lookup(list, name) {
  let found = null;
  for (let i = 0; i < list.length; i += 2) {
    if (list[i] === name) found = found === null ? list[i + 1] : `${found}, ${list[i + 1]}`;
  }
  return found;
}

/** Names in order, values of one name joined, cookies each for itself. */
function sorted(list) {
  const names = [];
  for (let i = 0; i < list.length; i += 2) {
    if (!names.includes(list[i])) names[names.length] = list[i];
  }
  sort(names);
  const found = [];
  for (const name of names) {
    if (name !== 'set-cookie') {
      found[found.length] = [name, lookup(list, name)];
      continue;
    }
    for (let i = 0; i < list.length; i += 2) {
      if (list[i] === name) found[found.length] = [name, list[i + 1]];
    }
  }
  return found;
}

const iteratorPrototype = Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]()));

/** A live iterator: what is added behind its place is still met. */
function iterate(fields, select) {
  let place = 0;
  const iterator = Object.create(headersIterator);
  nextOf.set(iterator, () => {
    const entries = sorted(fields());
    if (place >= entries.length) return { value: undefined, done: true };
    const [name, value] = entries[place++];
    return { value: select(name, value), done: false };
  });
  return iterator;
}

const nextOf = new WeakMap();
const headersIterator = Object.create(iteratorPrototype, {
  next: {
    value: function next() {
      const step = nextOf.get(this);
      if (step === undefined) fail('Headers iterator', 'next was called on something else');
      return step();
    },
    writable: true,
    enumerable: true,
    configurable: true,
  },
  [Symbol.toStringTag]: { value: 'Headers Iterator', configurable: true },
});
