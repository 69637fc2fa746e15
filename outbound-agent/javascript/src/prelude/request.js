// Request.

import { finish, native, uncurry } from 'outbound:native';
import { demand, dictionary, fail, octets, usv, word } from 'outbound:convert';
import { isSignal, makeSignal, onAbort, signalAbort } from 'outbound:abort';
import { bodyOf, extract, isEmpty, isUsed, isLocked, mixin, split } from 'outbound:body';
import { Headers, addType, copyHeaders, fill, headersOf } from 'outbound:headers';
import { coreOf } from 'outbound:readable';
import { TransformStream } from 'outbound:transform';

const test = uncurry(RegExp.prototype.test);
const toUpperCase = uncurry(String.prototype.toUpperCase);
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const usual = /^(?:delete|get|head|options|post|put)$/i;
const refused = /^(?:connect|trace|track)$/i;

// Ways in for the other parts of the prelude.
const inside = Symbol('inside');
let incoming, isRequest, stateOf;

class Request {
  #state;

  constructor(input, init = undefined) {
    demand('Request', arguments.length, 1);
    if (init === inside) {
      this.#state = input;
      return;
    }
    const options = dictionary(init, 'Request', 'init');
    const from = isRequest(input) ? input : null;
    if (from !== null) {
      const { url, method, redirect, signal } = from.#state;
      this.#state = made(url, method, null, redirect, null, signal);
    } else {
      this.#state = made(urlOf(input), 'GET', null, 'follow', null, null);
    }
    this.#settings(options);
    this.#state.headers = from !== null && options.headers === undefined ? copyHeaders(from.#state.headers) : new Headers();
    if (options.headers !== undefined) fill(this.#state.headers, options.headers, 'Request');
    this.#take(options, from);
  }

  #settings({ method, redirect, signal, cache, integrity, keepalive, window }) {
    if (method !== undefined) {
      const name = octets(method, 'Request', 'init.method');
      if (!test(token, name)) fail('Request', `init.method ${JSON.stringify(name)} is no method`);
      if (test(refused, name)) fail('Request', `init.method ${JSON.stringify(name)} is not allowed`);
      this.#state.method = test(usual, name) ? toUpperCase(name) : name;
    }
    if (redirect !== undefined) {
      this.#state.redirect = word(redirect, ['follow', 'manual', 'error'], 'Request', 'init.redirect');
    }
    if (signal !== undefined) {
      if (signal !== null && !isSignal(signal)) fail('Request', 'init.signal is no AbortSignal');
      this.#state.signal = signal;
    }
    if (window !== undefined && window !== null) fail('Request', 'init.window accepts null alone');
    if (cache !== undefined) {
      const modes = ['default', 'no-store', 'reload', 'no-cache', 'force-cache', 'only-if-cached'];
      this.#state.cache = word(cache, modes, 'Request', 'init.cache');
    }
    if (integrity !== undefined) this.#state.integrity = `${integrity}`;
    if (keepalive !== undefined) this.#state.keepalive = Boolean(keepalive);
  }

  #take(options, from) {
    const { body, duplex } = options;
    if (duplex !== undefined) word(duplex, ['half'], 'Request', 'init.duplex');
    const bodiless = this.#state.method === 'GET' || this.#state.method === 'HEAD';
    if (body !== undefined && body !== null) {
      if (bodiless) fail('Request', `a ${this.#state.method} request has no body`);
      this.#state.body = extract(body, 'Request');
      if (this.#state.body.type !== null) addType(this.#state.headers, this.#state.body.type);
      return;
    }
    if (from === null || body === null || isEmpty(from.#state.body)) {
      this.#state.body = bodyOf(null);
      return;
    }
    const theirs = from.#state.body;
    if (isUsed(theirs)) fail('Request', 'the body of input was used already');
    if (isLocked(theirs)) fail('Request', 'the body of input is locked to a reader');
    if (bodiless && from.#state.method !== this.#state.method) fail('Request', `a ${this.#state.method} request has no body`);
    this.#state.body = bodyOf(theirs.source, theirs.type);
    if (theirs.stream !== null) {
      const number = coreOf(theirs.stream).detach();
      if (number !== 0) this.#state.body.source = number;
      else this.#state.body.stream = theirs.stream.pipeThrough(new TransformStream());
    }
    theirs.used = true;
  }

  static {
    incoming = (method, url, head, body) => {
      const content = bodyOf(body === 0 ? null : body);
      return new Request(made(url, method, headersOf(head), 'manual', content, null), inside);
    };
    isRequest = (value) => typeof value === 'object' && value !== null && #state in value;
    stateOf = (request) => request.#state;
  }

  get method() {
    return this.#state.method;
  }
  get url() {
    return this.#state.url;
  }
  get headers() {
    return this.#state.headers;
  }
  get redirect() {
    return this.#state.redirect;
  }
  get signal() {
    if (this.#state.signal === null) this.#state.signal = makeSignal();
    return this.#state.signal;
  }
  get cache() {
    return this.#state.cache;
  }
  get integrity() {
    return this.#state.integrity;
  }
  get keepalive() {
    return this.#state.keepalive;
  }
  get duplex() {
    return 'half';
  }
  clone() {
    const { url, method, headers, redirect, body, signal } = this.#state;
    const theirs = split(body, 'Request.clone');
    const copy = made(url, method, copyHeaders(headers), redirect, theirs, null);
    if (signal !== null) {
      copy.signal = makeSignal();
      onAbort(signal, (reason) => signalAbort(copy.signal, reason));
    }
    return new Request(copy, inside);
  }
}

/** The state of a request. */
function made(url, method, headers, redirect, body, signal) {
  return { url, method, headers, redirect, body, signal, cache: 'default', integrity: '', keepalive: false };
}

function urlOf(input) {
  const text = usv(input, 'Request', 'input');
  const parts = native.url(text, undefined);
  if (parts === undefined) fail('Request', `input ${JSON.stringify(text)} is no absolute URL`);
  const href = parts.slice(0, parts.indexOf('\n'));
  if (/^[a-z]+:\/\/[^/?#]*@/.test(href)) fail('Request', 'input has credentials in its URL');
  return href;
}

mixin(Request.prototype, (request) => stateOf(request));
finish(Request);

export { Request, incoming, isRequest, stateOf };
