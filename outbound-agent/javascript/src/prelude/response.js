// Response.

import { finish, keepShapes, keepShapesOf, native } from 'outbound:native';
import { demand, dictionary, fail, octets, range, usv } from 'outbound:convert';
import { bodyOf, extract, mixin, split } from 'outbound:body';
import { Headers, addType, copyIn, fill, headersIn, setImmutable } from 'outbound:headers';
import { test } from 'outbound:primordials';

const phrase = /^[\t\x20-\x7e\x80-\xff]*$/;
const { stringify } = JSON;
const bodiless = (status) => status === 101 || status === 204 || status === 205 || status === 304;

const inside = Symbol('inside');
let received, isResponse, stateOf, untouched;

class Response {
  /** What it is; for one that came from outside and that nobody has looked into, its number. */
  #state;

  constructor(body = null, init = undefined) {
    if (init === inside) {
      this.#state = body;
      return;
    }
    const state = made(200, '', null, null, '', false, 'default');
    this.#state = state;
    if (init !== undefined) settings(state, dictionary(init, 'Response', 'init'));
    if (body !== null && body !== undefined && bodiless(state.status)) fail('Response', `a response of status ${state.status} has no body`);
    state.body = extract(body, 'Response');
    const { type } = state.body;
    if (state.headers !== null && type !== null) addType(state.headers, type);
  }

  static {
    received = (number) => new Response(number, inside);
    isResponse = (value) => typeof value === 'object' && value !== null && #state in value;
    stateOf = (response) => {
      const state = response.#state;
      return typeof state === 'number' ? (response.#state = unfold(state)) : state;
    };
    /** The number of a response that nobody has looked into; 0 is any other. */
    untouched = (response) => (typeof response.#state === 'number' ? response.#state : 0);
  }

  static error() {
    const headers = new Headers();
    setImmutable(headers);
    return new Response(made(0, '', headers, bodyOf(null), '', false, 'error'), inside);
  }
  static json(data, init = undefined) {
    demand('Response.json', arguments.length, 1);
    const text = stringify(data);
    if (text === undefined) fail('Response.json', 'data cannot be written as JSON');
    const response = new Response(text, init);
    const own = init?.headers === undefined ? false : new Headers(init.headers).has('content-type');
    if (!own) headersIn(response.#state).set('content-type', 'application/json');
    return response;
  }
  static redirect(url, status = 302) {
    demand('Response.redirect', arguments.length, 1);
    const text = usv(url, 'Response.redirect', 'url');
    const href = native.url(text, undefined);
    if (href === undefined) fail('Response.redirect', `url ${stringify(text)} is no absolute URL`);
    const number = Number(status);
    if (![301, 302, 303, 307, 308].includes(number)) range('Response.redirect', `status is ${number}; accepted: 301, 302, 303, 307, 308`);
    const headers = new Headers({ location: href });
    setImmutable(headers);
    return new Response(made(number, '', headers, bodyOf(null), '', false, 'default'), inside);
  }

  get status() {
    return stateOf(this).status;
  }
  get statusText() {
    return stateOf(this).statusText;
  }
  get ok() {
    const { status } = stateOf(this);
    return status >= 200 && status <= 299;
  }
  get headers() {
    return headersIn(stateOf(this));
  }
  get url() {
    return stateOf(this).url;
  }
  get redirected() {
    return stateOf(this).redirected;
  }
  get type() {
    return stateOf(this).type;
  }
  clone() {
    const state = stateOf(this);
    const { status, statusText, body, url, redirected, type } = state;
    const theirs = split(body, 'Response.clone');
    return new Response(made(status, statusText, copyIn(state), theirs, url, redirected, type), inside);
  }
}

function settings(state, { status, statusText, headers }) {
  if (status !== undefined) {
    const number = Math.trunc(Number(status)) & 0xffff;
    if (!(number >= 200 && number <= 599)) range('Response', `init.status is ${String(status)}; accepted: 200 to 599`);
    state.status = number;
  }
  if (statusText !== undefined) {
    state.statusText = octets(statusText, 'Response', 'init.statusText');
    if (!test(phrase, state.statusText)) fail('Response', 'init.statusText is no reason phrase');
  }
  if (headers !== undefined) {
    state.headers = new Headers();
    fill(state.headers, headers, 'Response');
  }
}

/** The state of a response. */
function made(status, statusText, headers, body, url, redirected, type) {
  return { status, statusText, headers, body, url, redirected, type };
}

/** The state of one that came from outside. */
function unfold(number) {
  const { 0: status, 1: statusText, 2: url, 3: head, 4: body, 5: used } = native.response(number);
  const content = bodyOf(body === 0 ? null : body);
  content.used = used;
  return made(status, statusText, head, content, url, false, 'basic');
}

mixin(Response.prototype, (response) => stateOf(response));
finish(Response);

export { Response, received, isResponse, stateOf, untouched };

keepShapes(made(200, '', null, bodyOf(null), '', false, ''));
keepShapesOf(received(0));
