// What Request and Response have in common: a body that can be read once.

import { keepShapes, native, promised, then, wait, uncurry } from 'outbound:native';
import { bytesOf, fail, isBuffer, usv } from 'outbound:convert';
import { headersIn } from 'outbound:headers';
import { blobBytes, coreOf, isBlob, isFormData, isReadable, isSearchParams, load } from 'outbound:late';
import { makeReadable, multipart, parseMultipart, readableOf, structuredClone, tee } from 'outbound:late';

const slice = uncurry(Uint8Array.prototype.slice);
const { parse } = JSON;
const ignore = () => {};

/**
 * A body: `source` is null, the number of one in Rust, a string, or bytes; `stream` stands in
 * its place once somebody asked for it. `operation` is the native one that reads all of it.
 */
export function bodyOf(source, type = null) {
  return { source, type, stream: null, used: false, operation: 0 };
}

/** Makes a body of what the web calls a BodyInit. */
export function extract(init, api) {
  if (init === null || init === undefined) return bodyOf(null);
  if (typeof init === 'string') return bodyOf(usv(init, api, 'body'), 'text/plain;charset=UTF-8');
  if (isReadable(init)) {
    const core = coreOf(init);
    if (core.disturbed) fail(api, 'body is a stream that was read already');
    if (core.reader !== null) fail(api, 'body is a locked stream');
    const body = bodyOf(null);
    body.stream = init;
    return body;
  }
  if (isBuffer(init)) return bodyOf(slice(bytesOf(init, api, 'body')));
  if (isBlob(init)) return bodyOf(slice(blobBytes(init)), init.type === '' ? null : init.type);
  if (isSearchParams(init)) return bodyOf(init.toString(), 'application/x-www-form-urlencoded;charset=UTF-8');
  if (isFormData(init)) {
    const { bytes, boundary } = multipart(init);
    return bodyOf(bytes, `multipart/form-data; boundary=${boundary}`);
  }
  return bodyOf(usv(init, api, 'body'), 'text/plain;charset=UTF-8');
}

export const isEmpty = (body) => body.source === null && body.stream === null;
export const isUsed = (body) => body.used || (body.stream !== null && coreOf(body.stream).disturbed);
export const isLocked = (body) => body.stream !== null && coreOf(body.stream).reader !== null;

/** Whether it can be sent a second time, as a redirect may ask. */
export const isReplayable = (body) => body.stream === null && typeof body.source !== 'number';

/** Takes a body to hand it on: null, a number, a string or bytes. */
export function take(body, api) {
  if (isUsed(body)) fail(api, 'the body was used already');
  if (isLocked(body)) fail(api, 'the body is locked to a reader');
  if (body.stream !== null) {
    body.used = true;
    return handOn(body.stream);
  }
  if (body.source !== null) body.used = true;
  return body.source;
}

/** The number of a body in Rust that gives what the stream gives. */
function handOn(stream) {
  const body = coreOf(stream).detach();
  if (body !== 0) return body;
  const reader = stream.getReader();
  const numbers = native.writer();
  const { 0: reading, 1: writing } = numbers;
  const pump = async () => {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      if (!isBuffer(value)) fail('body', 'its stream gave a chunk that is no Uint8Array');
      await wait(native.write(writing, bytesOf(value)));
    }
    await wait(native.endWrite(writing, null));
  };
  then(pump(), ignore, (error) => {
    let text = 'the stream failed';
    try {
      text = `${error}`.toWellFormed();
    } catch {}
    then(wait(native.endWrite(writing, text)), ignore, ignore);
    then(reader.cancel(error), ignore, ignore);
  });
  return reading;
}

/** Ends a body that is being received: who reads it, now or later, learns the reason. */
export function breakOff(body, reason) {
  if (body.operation !== 0) native.abandon(body.operation, reason);
  if (body.stream !== null || (body.operation === 0 && body.source !== null)) coreOf(streamOf(body)).breakOff(reason);
}

/** Makes two of one body, as `clone` does. */
export function split(body, api) {
  if (isUsed(body)) fail(api, 'the body was used already');
  if (isLocked(body)) fail(api, 'the body is locked to a reader');
  if (body.stream === null && typeof body.source !== 'number') return { ...body };
  const stream = streamOf(body);
  const { 0: ours, 1: theirs } = tee(stream, coreOf(stream), structuredClone);
  body.source = null;
  body.stream = ours;
  return { ...body, stream: theirs };
}

/** The stream of a body, made when it is first asked for. */
export function streamOf(body) {
  if (body.stream !== null || body.source === null) return body.stream;
  const { source } = body;
  body.stream =
    typeof source === 'number'
      ? readableOf(source)
      : makeReadable((core) => {
          core.bytes = true;
          core.highWater = 0;
          const bytes = typeof source === 'string' ? native.encode(source) : source;
          if (bytes.byteLength > 0) core.enqueue(bytes);
          core.close();
        });
  body.source = null;
  if (body.used) {
    coreOf(body.stream).disturbed = true;
    body.stream.getReader();
  }
  return body.stream;
}

/** The methods of a body; `of` gives body and headers of an object, or throws. */
export function mixin(prototype, of) {
  const name = prototype.constructor.name;
  const read = (self, method, as) =>
    promised.outcome(async () => {
      const { body } = of(self);
      return as(take(body, `${name}.${method}`), body);
    });
  const getters = {
    get body() {
      return streamOf(of(this).body);
    },
    get bodyUsed() {
      return isUsed(of(this).body);
    },
  };
  Object.defineProperties(prototype, Object.getOwnPropertyDescriptors(getters));
  Object.assign(prototype, {
    text() {
      return read(this, 'text', asText);
    },
    json() {
      return read(this, 'json', async (source, body) => parse(await asText(source, body)));
    },
    arrayBuffer() {
      return read(this, 'arrayBuffer', async (source, body) => (await asBytes(source, body)).buffer);
    },
    bytes() {
      return read(this, 'bytes', asBytes);
    },
    blob() {
      return read(this, 'blob', async (source, body) => {
        const type = headersIn(of(this)).get('content-type') ?? '';
        const { Blob } = load('outbound:blob');
        return new Blob([await asBytes(source, body)], { type });
      });
    },
    formData() {
      return read(this, 'formData', async (source, body) => {
        const type = headersIn(of(this)).get('content-type') ?? '';
        if (/^application\/x-www-form-urlencoded\b/i.test(type)) {
          const { FormData } = load('outbound:formdata');
          const { URLSearchParams } = load('outbound:searchparams');
          const form = new FormData();
          for (const [key, value] of new URLSearchParams(await asText(source, body))) form.append(key, value);
          return form;
        }
        return parseMultipart(await asBytes(source, body), type, `${name}.formData`);
      });
    },
  });
}

/** What Rust makes of a body; where a stream feeds it, the stream says how it failed. */
function arrival(body, operation) {
  body.operation = operation;
  if (body.stream === null) return wait(operation);
  const core = coreOf(body.stream);
  return then(wait(operation), undefined, (error) => {
    throw core.state === 'errored' ? core.error : error;
  });
}

async function asText(source, body) {
  if (source === null) return '';
  if (typeof source === 'string') return source;
  if (typeof source === 'number') return await arrival(body, native.bodyText(source));
  return native.decode(source, false, false);
}

async function asBytes(source, body) {
  if (source === null) return new Uint8Array();
  if (typeof source === 'string') return native.encode(source);
  if (typeof source === 'number') return await arrival(body, native.bodyBytes(source));
  return source;
}

keepShapes(bodyOf(null));
