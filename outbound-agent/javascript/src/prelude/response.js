// Response.

import { finish } from 'outbound:native';
import { dictionary, range, text } from 'outbound:convert';
import { bodyOf, extract, mixin } from 'outbound:body';
import { Headers, fill, headersOf } from 'outbound:headers';

let received, isResponse, stateOf;

class Response {
  #status = 200;
  #statusText = '';
  #headers;
  #body;
  #url = '';

  constructor(body = null, init = undefined) {
    const options = dictionary(init, 'Response', 'init');
    if (options.status !== undefined) {
      this.#status = Number(options.status);
      if (!(this.#status >= 200 && this.#status <= 599)) range('Response', 'init.status is not within 200 and 599');
    }
    if (options.statusText !== undefined) this.#statusText = text(options.statusText, 'Response', 'init.statusText');
    this.#headers = new Headers();
    if (options.headers !== undefined) fill(this.#headers, options.headers, 'Response');
    this.#body = extract(body, 'Response');
    const { type } = this.#body;
    if (type !== null && !this.#headers.has('content-type')) this.#headers.append('content-type', type);
  }

  static {
    received = (status, statusText, head, body, url) => {
      const response = new Response();
      response.#status = status;
      response.#statusText = statusText;
      response.#headers = headersOf(head);
      response.#body = bodyOf(body === 0 ? null : body);
      response.#url = url;
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
}
mixin(Response.prototype, (response) => stateOf(response).body);
finish(Response);

export { Response, received, isResponse, stateOf };
