// fetch: hands a request to the host, follows redirects, can be aborted.

import { native, promised, then, uncurry, wait } from 'outbound:native';
import { demand, fail } from 'outbound:convert';
import { breakOff, isEmpty, isReplayable, take } from 'outbound:body';
import { copyHeaders, headersIn, wireIn } from 'outbound:headers';
import { onAbort } from 'outbound:late';
import { PromiseOf, slice, test } from 'outbound:primordials';
import { Request, isRequest, stateOf, untouched } from 'outbound:request';
import { received, stateOf as responseState } from 'outbound:response';

const { reject } = promised;
const { setPrototypeOf } = Object;
const indexOf = uncurry(String.prototype.indexOf);
const web = /^https?:/;
const MOST_REDIRECTS = 20;
const followed = (status) => status === 301 || status === 302 || status === 303 || status === 307 || status === 308;

export function fetch(input, init = undefined) {
  try {
    demand('fetch', arguments.length, 1);
    const request = isRequest(input) && init === undefined ? input : new Request(input, init);
    const number = untouched(request);
    if (number !== 0) return arrival(native.forward(number));
    const state = stateOf(request);
    if (state.signal === null) return state.redirect === 'manual' ? arrival(sent(state)) : send(state, null);
    if (state.signal.aborted) return reject(state.signal.reason);
    return abortable(state);
  } catch (error) {
    return reject(error);
  }
}

/**
 * The newest promise of a response, as long as nobody waits for it, its operation, and the
 * invocation that it was given to as the answer; 0 is none.
 */
const newest = { promise: null, operation: 0, invocation: 0 };
let noticed;

/** Whoever waits for a promise, or hands it on to be waited for, asks for its constructor. */
const noticing = Object.create(Promise.prototype, {
  constructor: {
    get() {
      if (this === newest.promise) notice();
      return PromiseOf;
    },
    configurable: true,
  },
});

function notice() {
  const { promise, invocation } = newest;
  newest.promise = null;
  if (invocation !== 0) noticed(invocation, promise);
}

/** Code of an invocation lives on that may wait for what was given. */
export function noticeGiven(invocation) {
  if (newest.promise !== null && newest.invocation === invocation) notice();
}

/** The promise of a response. */
function arrival(operation) {
  const promise = setPrototypeOf(wait(operation, received), noticing);
  newest.promise = promise;
  newest.operation = operation;
  newest.invocation = 0;
  return promise;
}

/** Promises of before are nobody's answer. */
export function forgetNewest() {
  newest.promise = null;
}

/** Gives a response that nobody waits for as the answer; calls `otherwise` should somebody still do so. */
export function giveUnseen(invocation, given, otherwise) {
  const { promise, operation } = newest;
  if (promise === null || given !== promise || !native.giveUnseen(invocation, operation)) return false;
  newest.invocation = invocation;
  noticed = otherwise;
  return true;
}

const sent = (state) => native.fetch(state.method, withoutHash(state.url), wireIn(state), take(state.body, 'fetch'));

/** Sends a request; gives a promise of its answer, or of that of the last one where it is redirected. `flight` learns what is under way. */
function send(state, flight) {
  const { url, method, body } = state;
  const isSpent = !isEmpty(body) && !isReplayable(body);
  const content = take(body, 'fetch');
  const operation = native.fetch(method, withoutHash(url), wireIn(state), content);
  if (flight !== null) flight.operation = operation;
  return wait(operation, (number) => {
    if (state.redirect === 'manual' || !followed(native.status(number))) return received(number);
    return follow(number, { url, method, headers: headersIn(state), content, isSpent }, state.redirect, flight);
  });
}

/** Goes where the answer `number` of `request` leads, and further. */
async function follow(number, request, redirect, flight) {
  for (let hops = 0; ; hops++) {
    const status = native.status(number);
    const response = received(number);
    if (hops > 0) responseState(response).redirected = true;
    const location = followed(status) ? response.headers.get('location') : null;
    if (location === null) return response;
    discard(response);
    if (redirect === 'error') fail('fetch', `${request.url} redirects, and init.redirect is "error"`);
    if (hops === MOST_REDIRECTS) fail('fetch', `more than ${MOST_REDIRECTS} redirects`);
    turn(request, status, location);
    const operation = native.fetch(request.method, withoutHash(request.url), wireIn(request), request.content);
    if (flight !== null) flight.operation = operation;
    number = await wait(operation);
  }
}

/** Makes a request the one that a redirect asks for. */
function turn(request, status, location) {
  const { url, method } = request;
  const target = native.url(location, url);
  if (target === undefined || !test(web, target)) fail('fetch', `${url} redirects to ${JSON.stringify(location)}, which is no http or https URL`);
  const headers = copyHeaders(request.headers);
  const drops = status === 303 ? method !== 'GET' && method !== 'HEAD' : method === 'POST' && status < 303;
  if (drops) {
    request.method = 'GET';
    request.content = null;
    request.isSpent = false;
    for (const name of ['content-encoding', 'content-language', 'content-location', 'content-type', 'content-length']) headers.delete(name);
  } else if (request.isSpent) {
    fail('fetch', `${url} redirects with ${status}, and the body of the request is a stream that is spent`);
  }
  if (originOf(target) !== originOf(url)) {
    for (const name of ['authorization', 'cookie', 'proxy-authorization', 'host']) headers.delete(name);
  }
  request.headers = headers;
  request.url = target.includes('#') ? target : target + hashOf(url);
}

function withoutHash(url) {
  const end = indexOf(url, '#');
  return end < 0 ? url : slice(url, 0, end);
}

function discard(response) {
  const { body } = responseState(response);
  if (typeof body.source === 'number') native.bodyCancel(body.source);
}

function abortable(state) {
  const { signal } = state;
  const flight = { operation: 0 };
  return new PromiseOf((resolve, reject) => {
    let response = null;
    onAbort(signal, (reason) => {
      if (response === null) {
        native.forget(flight.operation);
      } else {
        breakOff(responseState(response).body, reason);
      }
      reject(reason);
    });
    then(
      send(state, flight),
      (arrived) => {
        response = arrived;
        resolve(arrived);
      },
      reject,
    );
  });
}

const originOf = (url) => native.urlPart(url, 1);
const hashOf = (url) => (url.includes('#') ? url.slice(url.indexOf('#')) : '');
