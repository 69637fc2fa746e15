// Request.

import { finish, keepShapes, keepShapesOf, native, uncurry } from 'outbound:native';
import { demand, dictionary, fail, octets, usv, word } from 'outbound:convert';
import { coreOf, follow, isSignal, load, makeSignal } from 'outbound:late';
import { bodyOf, extract, isEmpty, isUsed, isLocked, mixin, split } from 'outbound:body';
import { Headers, addType, copyIn, fill, headersIn } from 'outbound:headers';
import { test } from 'outbound:primordials';

const toUpperCase = uncurry(String.prototype.toUpperCase);
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const usual = /^(?:delete|get|head|options|post|put)$/i;
const refused = /^(?:connect|trace|track)$/i;
/** Those that need no second look. */
const plain = { __proto__: null, DELETE: true, GET: true, HEAD: true, OPTIONS: true, PATCH: true, POST: true, PUT: true };
const includes = uncurry(String.prototype.includes);
const credentials = /^[a-z]+:\/\/[^/?#]*@/;

// Ways in for the other parts of the prelude.
const inside = Symbol('inside');
let incoming, isRequest, stateOf, untouched;

class Request {
  /** What it is; for one that came from outside and that nobody has looked into, its number. */
  #state;

  constructor(input, init = undefined) {
    demand('Request', arguments.length, 1);
    if (init === inside) {
      this.#state = input;
      return;
    }
    const options = init === undefined ? none : dictionary(init, 'Request', 'init');
    const from = isRequest(input) ? stateOf(input) : null;
    const state =
      from === null
        ? made(urlOf(input), 'GET', null, 'follow', null, null)
        : made(from.url, from.method, null, from.redirect, null, from.signal);
    this.#state = state;
    if (options !== none) settings(state, options);
    const { headers } = options;
    if (headers !== undefined) {
      state.headers = new Headers();
      fill(state.headers, headers, 'Request');
    } else if (from !== null) {
      // A type that its body has brought is a header of its own.
      if (from.headers === null && from.body.type !== null) headersIn(from);
      state.headers = copyIn(from);
    }
    takeBody(state, options, from);
  }

  static {
    incoming = (number) => new Request(number, inside);
    isRequest = (value) => typeof value === 'object' && value !== null && #state in value;
    stateOf = (request) => {
      const state = request.#state;
      return typeof state === 'number' ? (request.#state = unfold(state)) : state;
    };
    /** The number of a request that nobody has looked into; 0 is any other. */
    untouched = (request) => (typeof request.#state === 'number' ? request.#state : 0);
  }

  get method() {
    return stateOf(this).method;
  }
  get url() {
    return stateOf(this).url;
  }
  get headers() {
    return headersIn(stateOf(this));
  }
  get redirect() {
    return stateOf(this).redirect;
  }
  get signal() {
    const state = stateOf(this);
    if (state.signal === null) state.signal = makeSignal();
    return state.signal;
  }
  get cache() {
    return stateOf(this).rare.cache;
  }
  get integrity() {
    return stateOf(this).rare.integrity;
  }
  get keepalive() {
    return stateOf(this).rare.keepalive;
  }
  get duplex() {
    return 'half';
  }
  clone() {
    const state = stateOf(this);
    const { url, method, redirect, body, signal } = state;
    const theirs = split(body, 'Request.clone');
    const copy = made(url, method, copyIn(state), redirect, theirs, null);
    if (signal !== null) {
      copy.signal = makeSignal();
      follow(copy.signal, signal);
    }
    return new Request(copy, inside);
  }
}

/** What hardly any request says. */
const usually = { __proto__: null, cache: 'default', integrity: '', keepalive: false };
const rare = (state) => (state.rare === usually ? (state.rare = { ...usually }) : state.rare);

/** The state of a request. */
function made(url, method, headers, redirect, body, signal) {
  return { url, method, headers, redirect, body, signal, rare: usually };
}

/** The state of one that came from outside. */
function unfold(number) {
  const { 0: method, 1: url, 2: head, 3: body, 4: used } = native.request(number);
  const content = bodyOf(body === 0 ? null : body);
  content.used = used;
  return made(url, method, head, 'manual', content, null);
}

const none = { __proto__: null };

function settings(state, { method, redirect, signal, cache, integrity, keepalive, window }) {
  if (method !== undefined) {
    state.method = typeof method === 'string' && plain[method] === true ? method : methodOf(method);
  }
  if (redirect !== undefined) {
    state.redirect = word(redirect, ['follow', 'manual', 'error'], 'Request', 'init.redirect');
  }
  if (signal !== undefined) {
    if (signal !== null && !isSignal(signal)) fail('Request', 'init.signal is no AbortSignal');
    state.signal = signal;
  }
  if (window !== undefined && window !== null) fail('Request', 'init.window accepts null alone');
  if (cache !== undefined) {
    const modes = ['default', 'no-store', 'reload', 'no-cache', 'force-cache', 'only-if-cached'];
    rare(state).cache = word(cache, modes, 'Request', 'init.cache');
  }
  if (integrity !== undefined) rare(state).integrity = `${integrity}`;
  if (keepalive !== undefined) rare(state).keepalive = Boolean(keepalive);
}

/** Gives a request the body of the options, or that of the request which it is made from. */
function takeBody(state, { body, duplex }, from) {
  if (duplex !== undefined) word(duplex, ['half'], 'Request', 'init.duplex');
  const bodiless = state.method === 'GET' || state.method === 'HEAD';
  if (body !== undefined && body !== null) {
    if (bodiless) fail('Request', `a ${state.method} request has no body`);
    state.body = extract(body, 'Request');
    if (state.headers !== null && state.body.type !== null) addType(state.headers, state.body.type);
    return;
  }
  if (from === null || body === null || isEmpty(from.body)) {
    state.body = bodyOf(null);
    return;
  }
  const theirs = from.body;
  if (isUsed(theirs)) fail('Request', 'the body of input was used already');
  if (isLocked(theirs)) fail('Request', 'the body of input is locked to a reader');
  if (bodiless && from.method !== state.method) fail('Request', `a ${state.method} request has no body`);
  state.body = bodyOf(theirs.source, theirs.type);
  if (theirs.stream !== null) {
    const number = coreOf(theirs.stream).detach();
    if (number !== 0) state.body.source = number;
    else {
      const { TransformStream } = load('outbound:transform');
      state.body.stream = theirs.stream.pipeThrough(new TransformStream());
    }
  }
  theirs.used = true;
}

function methodOf(method) {
  const name = octets(method, 'Request', 'init.method');
  if (!test(token, name)) fail('Request', `init.method ${JSON.stringify(name)} is no method`);
  if (test(refused, name)) fail('Request', `init.method ${JSON.stringify(name)} is not allowed`);
  return test(usual, name) ? toUpperCase(name) : name;
}

function urlOf(input) {
  const text = usv(input, 'Request', 'input');
  const href = native.url(text, undefined);
  if (href === undefined) fail('Request', `input ${JSON.stringify(text)} is no absolute URL`);
  if (includes(href, '@') && test(credentials, href)) fail('Request', 'input has credentials in its URL');
  return href;
}

mixin(Request.prototype, (request) => stateOf(request));
finish(Request);

export { Request, incoming, isRequest, stateOf, untouched };

keepShapes(made('', '', null, '', bodyOf(null), null));
keepShapesOf(incoming(0));
