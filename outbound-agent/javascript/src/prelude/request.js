// Request.

import { finish, native, uncurry } from 'outbound:native';
import { demand, dictionary, fail, octets, usv, word } from 'outbound:convert';
import { isSignal, makeSignal, onAbort, signalAbort } from 'outbound:abort';
import { bodyOf, extract, isEmpty, isUsed, isLocked, mixin, split } from 'outbound:body';
import { Headers, copyHeaders, fill, headersOf } from 'outbound:headers';
import { coreOf } from 'outbound:readable';
import { TransformStream } from 'outbound:transform';

const test = uncurry(RegExp.prototype.test);
const toUpperCase = uncurry(String.prototype.toUpperCase);
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const usual = /^(?:delete|get|head|options|post|put)$/i;
const refused = /^(?:connect|trace|track)$/i;

// Ways in for the other parts of the prelude.
let incoming, isRequest, stateOf;

class Request {
  #url;
  #method = 'GET';
  #headers;
  #redirect = 'follow';
  #body;
  #signal = null;
  #cache = 'default';
  #integrity = '';
  #keepalive = false;

  constructor(input, init = undefined) {
    demand('Request', arguments.length, 1);
    const options = dictionary(init, 'Request', 'init');
    const from = isRequest(input) ? input : null;
    if (from !== null) {
      this.#url = from.#url;
      this.#method = from.#method;
      this.#redirect = from.#redirect;
      this.#signal = from.#signal;
    } else {
      this.#url = urlOf(input);
    }
    this.#settings(options);
    this.#headers = from !== null && options.headers === undefined ? copyHeaders(from.#headers) : new Headers();
    if (options.headers !== undefined) fill(this.#headers, options.headers, 'Request');
    this.#take(options, from);
  }

  #settings({ method, redirect, signal, cache, integrity, keepalive, window }) {
    if (method !== undefined) {
      const name = octets(method, 'Request', 'init.method');
      if (!test(token, name)) fail('Request', `init.method ${JSON.stringify(name)} is no method`);
      if (test(refused, name)) fail('Request', `init.method ${JSON.stringify(name)} is not allowed`);
      this.#method = test(usual, name) ? toUpperCase(name) : name;
    }
    if (redirect !== undefined) {
      this.#redirect = word(redirect, ['follow', 'manual', 'error'], 'Request', 'init.redirect');
    }
    if (signal !== undefined) {
      if (signal !== null && !isSignal(signal)) fail('Request', 'init.signal is no AbortSignal');
      this.#signal = signal;
    }
    if (window !== undefined && window !== null) fail('Request', 'init.window accepts null alone');
    if (cache !== undefined) {
      const modes = ['default', 'no-store', 'reload', 'no-cache', 'force-cache', 'only-if-cached'];
      this.#cache = word(cache, modes, 'Request', 'init.cache');
    }
    if (integrity !== undefined) this.#integrity = `${integrity}`;
    if (keepalive !== undefined) this.#keepalive = Boolean(keepalive);
  }

  #take(options, from) {
    const { body, duplex } = options;
    if (duplex !== undefined) word(duplex, ['half'], 'Request', 'init.duplex');
    const bodiless = this.#method === 'GET' || this.#method === 'HEAD';
    if (body !== undefined && body !== null) {
      if (bodiless) fail('Request', `a ${this.#method} request has no body`);
      this.#body = extract(body, 'Request');
      if (this.#body.type !== null && !this.#headers.has('content-type')) {
        this.#headers.append('content-type', this.#body.type);
      }
      return;
    }
    if (from === null || body === null || isEmpty(from.#body)) {
      this.#body = bodyOf(null);
      return;
    }
    const theirs = from.#body;
    if (isUsed(theirs)) fail('Request', 'the body of input was used already');
    if (isLocked(theirs)) fail('Request', 'the body of input is locked to a reader');
    if (bodiless && from.#method !== this.#method) fail('Request', `a ${this.#method} request has no body`);
    this.#body = bodyOf(theirs.source, theirs.type);
    if (theirs.stream !== null) {
      const number = coreOf(theirs.stream).detach();
      if (number !== 0) this.#body.source = number;
      else this.#body.stream = theirs.stream.pipeThrough(new TransformStream());
    }
    theirs.used = true;
  }

  static {
    incoming = (method, url, head, body) => {
      const request = new Request(blank);
      request.#url = url;
      request.#method = method;
      request.#headers = headersOf(head);
      request.#redirect = 'manual';
      request.#body = bodyOf(body === 0 ? null : body);
      return request;
    };
    isRequest = (value) => typeof value === 'object' && value !== null && #method in value;
    stateOf = (request) => ({
      url: request.#url,
      method: request.#method,
      headers: request.#headers,
      redirect: request.#redirect,
      body: request.#body,
      signal: request.#signal,
    });
  }

  get method() {
    return this.#method;
  }
  get url() {
    return this.#url;
  }
  get headers() {
    return this.#headers;
  }
  get redirect() {
    return this.#redirect;
  }
  get signal() {
    if (this.#signal === null) this.#signal = makeSignal();
    return this.#signal;
  }
  get cache() {
    return this.#cache;
  }
  get integrity() {
    return this.#integrity;
  }
  get keepalive() {
    return this.#keepalive;
  }
  get duplex() {
    return 'half';
  }
  clone() {
    const copy = new Request(blank);
    copy.#body = split(this.#body, 'Request.clone');
    copy.#url = this.#url;
    copy.#method = this.#method;
    copy.#headers = copyHeaders(this.#headers);
    copy.#redirect = this.#redirect;
    if (this.#signal !== null) {
      copy.#signal = makeSignal();
      onAbort(this.#signal, (reason) => signalAbort(copy.#signal, reason));
    }
    return copy;
  }
}

/** What a request is made of whose parts are put in afterwards. */
const blank = { toString: () => 'about:blank' };

function urlOf(input) {
  if (input === blank) return '';
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
