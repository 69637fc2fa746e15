// Response.

import { finish, native, uncurry } from 'outbound:native';
import { demand, dictionary, fail, octets, range, usv } from 'outbound:convert';
import { bodyOf, extract, mixin, split } from 'outbound:body';
import { Headers, copyHeaders, fill, headersOf, setImmutable } from 'outbound:headers';

const test = uncurry(RegExp.prototype.test);
const phrase = /^[\t\x20-\x7e\x80-\xff]*$/;
const { stringify } = JSON;
const bodiless = (status) => status === 101 || status === 204 || status === 205 || status === 304;

const inside = Symbol('inside');
let received, isResponse, stateOf;

class Response {
  #status = 200;
  #statusText = '';
  #headers = new Headers();
  #body;
  #url = '';
  #redirected = false;
  #type = 'default';

  constructor(body = null, init = undefined) {
    if (init === inside) {
      this.#body = bodyOf(null);
      return;
    }
    const { status, statusText, headers } = dictionary(init, 'Response', 'init');
    if (status !== undefined) {
      const number = Math.trunc(Number(status)) & 0xffff;
      if (!(number >= 200 && number <= 599)) range('Response', `init.status is ${String(status)}; accepted: 200 to 599`);
      this.#status = number;
    }
    if (statusText !== undefined) {
      this.#statusText = octets(statusText, 'Response', 'init.statusText');
      if (!test(phrase, this.#statusText)) fail('Response', 'init.statusText is no reason phrase');
    }
    if (headers !== undefined) fill(this.#headers, headers, 'Response');
    if (body !== null && body !== undefined && bodiless(this.#status)) fail('Response', `a response of status ${this.#status} has no body`);
    this.#body = extract(body, 'Response');
    const { type } = this.#body;
    if (type !== null && !this.#headers.has('content-type')) this.#headers.append('content-type', type);
  }

  static {
    received = (status, statusText, head, body, url, redirected) => {
      const response = new Response(null, inside);
      response.#status = status;
      response.#statusText = statusText;
      response.#headers = headersOf(head);
      response.#body = bodyOf(body === 0 ? null : body);
      response.#url = url;
      response.#redirected = redirected;
      response.#type = 'basic';
      return response;
    };
    isResponse = (value) => typeof value === 'object' && value !== null && #status in value;
    stateOf = (response) => ({
      status: response.#status,
      statusText: response.#statusText,
      headers: response.#headers,
      body: response.#body,
    });
  }

  static error() {
    const response = new Response(null, inside);
    response.#status = 0;
    response.#type = 'error';
    setImmutable(response.#headers);
    return response;
  }
  static json(data, init = undefined) {
    demand('Response.json', arguments.length, 1);
    const text = stringify(data);
    if (text === undefined) fail('Response.json', 'data cannot be written as JSON');
    const response = new Response(text, init);
    const own = init?.headers === undefined ? false : new Headers(init.headers).has('content-type');
    if (!own) response.#headers.set('content-type', 'application/json');
    return response;
  }
  static redirect(url, status = 302) {
    demand('Response.redirect', arguments.length, 1);
    const text = usv(url, 'Response.redirect', 'url');
    const parts = native.url(text, undefined);
    if (parts === undefined) fail('Response.redirect', `url ${stringify(text)} is no absolute URL`);
    const number = Number(status);
    if (![301, 302, 303, 307, 308].includes(number)) range('Response.redirect', `status is ${number}; accepted: 301, 302, 303, 307, 308`);
    const response = new Response(null, inside);
    response.#status = number;
    response.#headers.set('location', parts.slice(0, parts.indexOf('\n')));
    setImmutable(response.#headers);
    return response;
  }

  get status() {
    return this.#status;
  }
  get statusText() {
    return this.#statusText;
  }
  get ok() {
    return this.#status >= 200 && this.#status <= 299;
  }
  get headers() {
    return this.#headers;
  }
  get url() {
    return this.#url;
  }
  get redirected() {
    return this.#redirected;
  }
  get type() {
    return this.#type;
  }
  clone() {
    const copy = new Response(null, inside);
    copy.#body = split(this.#body, 'Response.clone');
    copy.#status = this.#status;
    copy.#statusText = this.#statusText;
    copy.#headers = copyHeaders(this.#headers);
    copy.#url = this.#url;
    copy.#redirected = this.#redirected;
    copy.#type = this.#type;
    return copy;
  }
}

mixin(Response.prototype, (response) => stateOf(response));
finish(Response);

export { Response, received, isResponse, stateOf };
