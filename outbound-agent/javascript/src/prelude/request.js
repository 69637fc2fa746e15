// Request.

import { finish } from 'outbound:native';
import { demand, dictionary, fail, text, usv, word } from 'outbound:convert';
import { bodyOf, extract, mixin } from 'outbound:body';
import { Headers, copyHeaders, fill, headersOf, setImmutable } from 'outbound:headers';

// Ways in for the other parts of the prelude.
let incoming, isRequest, stateOf;

class Request {
  #url;
  #method = 'GET';
  #headers;
  #redirect = 'follow';
  #body;

  constructor(input, init = undefined) {
    demand('Request', arguments.length, 1);
    const options = dictionary(init, 'Request', 'init');
    if (isRequest(input)) {
      this.#url = input.#url;
      this.#method = input.#method;
      this.#redirect = input.#redirect;
    } else {
      this.#url = usv(input, 'Request', 'input');
    }
    if (options.method !== undefined) this.#method = text(options.method, 'Request', 'init.method');
    if (options.redirect !== undefined) {
      this.#redirect = word(options.redirect, ['follow', 'manual', 'error'], 'Request', 'init.redirect');
    }
    if (options.headers !== undefined) {
      this.#headers = new Headers();
      fill(this.#headers, options.headers, 'Request');
    } else {
      this.#headers = isRequest(input) ? copyHeaders(input.#headers) : new Headers();
    }
    if (options.body !== undefined && options.body !== null) {
      this.#body = extract(options.body, 'Request');
    } else if (isRequest(input)) {
      if (input.#body.used) fail('Request', 'the body of input was used already');
      this.#body = { ...input.#body };
      if (input.#body.source !== null) input.#body.used = true;
    } else {
      this.#body = bodyOf(null);
    }
  }

  static {
    incoming = (method, url, head, body) => {
      const request = new Request(url);
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
}
mixin(Request.prototype, (request) => stateOf(request).body);
finish(Request);

export { Request, incoming, isRequest, stateOf };
