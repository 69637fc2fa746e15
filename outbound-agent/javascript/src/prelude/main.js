// The web's classes on the global object, and the ways in from Rust.

import { expose, native } from 'outbound:native';
import { fetch } from 'outbound:fetch';
import { Headers } from 'outbound:headers';
import { adopt, bind, complain, dispatch, give, surround, tunnel } from 'outbound:invoke';
import { exposeLate, forgetTimers as forget, load } from 'outbound:late';
import { lockdown } from 'outbound:lockdown';
import { Request } from 'outbound:request';
import { Response } from 'outbound:response';

export { adopt, complain, dispatch, give, surround, tunnel };

/** Rust keeps this one, whatever takes its place once there are timers. */
export const forgetTimers = (operations) => forget(operations);

export function install(functions, bindings) {
  Object.assign(native, functions);
  const navigator = { userAgent: 'outbound' };
  expose({ Headers, Request, Response, fetch, navigator, self: globalThis });
  exposeLate('outbound:abort', ['AbortController', 'AbortSignal']);
  exposeLate('outbound:blob', ['Blob', 'File']);
  exposeLate('outbound:clone', ['structuredClone']);
  exposeLate('outbound:console', ['console']);
  exposeLate('outbound:crypto', ['Crypto', 'CryptoKey', 'SubtleCrypto', 'crypto']);
  exposeLate('outbound:encoding', ['TextDecoder', 'TextDecoderStream', 'TextEncoder', 'TextEncoderStream', 'atob', 'btoa']);
  exposeLate('outbound:event', ['CustomEvent', 'Event', 'EventTarget']);
  exposeLate('outbound:formdata', ['FormData']);
  exposeLate('outbound:readable', ['ReadableStream', 'ReadableStreamBYOBReader']);
  exposeLate('outbound:readable', ['ReadableStreamDefaultController', 'ReadableStreamDefaultReader']);
  exposeLate('outbound:searchparams', ['URLSearchParams']);
  exposeLate('outbound:timers', ['clearInterval', 'clearTimeout', 'performance', 'queueMicrotask', 'setInterval', 'setTimeout']);
  exposeLate('outbound:transform', ['ByteLengthQueuingStrategy', 'CountQueuingStrategy', 'FixedLengthStream']);
  exposeLate('outbound:transform', ['IdentityTransformStream', 'TransformStream', 'TransformStreamDefaultController']);
  exposeLate('outbound:url', ['URL']);
  exposeLate('outbound:writable', ['WritableStream', 'WritableStreamDefaultController', 'WritableStreamDefaultWriter']);
  const { vars: env, secrets, caches } = bindings;
  for (const name of secrets) env[name] = load('outbound:secret').makeSecret(name);
  for (const name of caches) env[name] = load('outbound:cache').makeCache();
  bind(env);
  lockdown();
}
