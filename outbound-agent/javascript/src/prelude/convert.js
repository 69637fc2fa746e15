// Conversions of Web IDL, with errors that name the API and the argument.

import { uncurry } from 'outbound:native';
import { isArray, test, toWellFormed } from 'outbound:primordials';

const { ownKeys } = Reflect;
const isEnumerable = uncurry(Object.prototype.propertyIsEnumerable);
const TypeErrorOf = TypeError;
const RangeErrorOf = RangeError;
const beyondByte = /[^\x00-\xff]/;

export function fail(api, text) {
  throw new TypeErrorOf(`${api}: ${text}`);
}

export function range(api, text) {
  throw new RangeErrorOf(`${api}: ${text}`);
}

/** Throws unless there are as many arguments as the API needs. */
export function demand(api, given, needed) {
  if (given < needed) fail(api, `needs ${needed} argument${needed > 1 ? 's' : ''}, got ${given}`);
}

export function text(value, api, argument) {
  if (typeof value === 'string') return value;
  if (typeof value === 'symbol') fail(api, `${argument} is a symbol, not a string`);
  return `${value}`;
}

/** A string without lone surrogates. */
export function usv(value, api, argument) {
  return toWellFormed(text(value, api, argument));
}

/** A string of code points up to 255. */
export function octets(value, api, argument) {
  const string = text(value, api, argument);
  if (test(beyondByte, string)) fail(api, `${argument} has characters beyond U+00FF`);
  return string;
}

/** A dictionary; missing and null are an empty one. */
export function dictionary(value, api, argument) {
  if (value === undefined || value === null) return {};
  if (typeof value !== 'object' && typeof value !== 'function') {
    fail(api, `${argument} is no object`);
  }
  return value;
}

/** One of these words. */
export function word(value, words, api, argument) {
  const string = text(value, api, argument);
  for (let i = 0; i < words.length; i++) if (words[i] === string) return string;
  fail(api, `${argument} is "${string}"; accepted: ${words.join(', ')}`);
}

/** Name-value pairs of a record or of a sequence of pairs. */
export function pairs(value, api, argument) {
  if (typeof value !== 'object' && typeof value !== 'function') fail(api, `${argument} is no object`);
  const found = [];
  const iterator = value[Symbol.iterator];
  if (iterator === undefined || iterator === null) {
    const keys = ownKeys(value);
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i];
      if (!isEnumerable(value, key)) continue;
      if (typeof key === 'symbol') fail(api, `${argument} has a symbol as a key`);
      found[found.length] = [key, value[key]];
    }
    return found;
  }
  if (typeof iterator !== 'function') fail(api, `${argument} cannot be iterated`);
  for (const item of value) {
    if (typeof item !== 'object' || item === null) fail(api, `${argument} has an entry that is no pair`);
    const pair = isArray(item) ? item : [...item];
    if (pair.length !== 2) fail(api, `${argument} has an entry of ${pair.length} parts, not of two`);
    found[found.length] = [pair[0], pair[1]];
  }
  return found;
}

export const isBuffer = (value) => value instanceof ArrayBuffer || ArrayBuffer.isView(value);

/** The bytes of a BufferSource as a Uint8Array over the same memory. */
export function bytesOf(value, api, argument) {
  if (value instanceof Uint8Array) return value;
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  fail(api, `${argument} is no ArrayBuffer and no view of one`);
}
