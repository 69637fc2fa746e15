// What Request and Response have in common: a body that can be read once.

import { native, wait, uncurry } from 'outbound:native';
import { bytesOf, fail, isBuffer, usv } from 'outbound:convert';

const slice = uncurry(Uint8Array.prototype.slice);
const { parse } = JSON;

/**
 * A body: `source` is null, the number of one in Rust, a string, or bytes; `stream` stands in
 * its place once somebody asked for it.
 */
export function bodyOf(source, type = null) {
  return { source, type, stream: null, used: false };
}

/** Makes a body of what the web calls a BodyInit. */
export function extract(init, api) {
  if (init === null || init === undefined) return bodyOf(null);
  if (isBuffer(init)) return bodyOf(slice(bytesOf(init, api, 'body')));
  return bodyOf(usv(init, api, 'body'), 'text/plain;charset=UTF-8');
}

/** Takes a body to hand it on: null, a number, a string or bytes. */
export function take(body, api) {
  const { source } = body;
  if (body.used) fail(api, 'the body was used already');
  if (source !== null) body.used = true;
  return source;
}

/** The methods of a body; `of` gives it for an object, or throws. */
export function mixin(prototype, of) {
  const name = prototype.constructor.name;
  const methods = {
    async text() {
      return readText(of(this), `${name}.text`);
    },
    async json() {
      return parse(await readText(of(this), `${name}.json`));
    },
    async arrayBuffer() {
      return (await readBytes(of(this), `${name}.arrayBuffer`)).buffer;
    },
    async bytes() {
      return readBytes(of(this), `${name}.bytes`);
    },
    get bodyUsed() {
      return of(this).used;
    },
  };
  Object.defineProperties(prototype, Object.getOwnPropertyDescriptors(methods));
}

async function readText(body, api) {
  const source = take(body, api);
  if (source === null) return '';
  if (typeof source === 'string') return source;
  if (typeof source === 'number') return await wait(native.bodyText(source));
  fail(api, 'bytes');
}

async function readBytes(body, api) {
  const source = take(body, api);
  if (source === null) return new Uint8Array();
  if (typeof source === 'number') return await wait(native.bodyBytes(source));
  return source;
}
