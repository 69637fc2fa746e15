// structuredClone.

import { demand } from 'outbound:convert';
import { load } from 'outbound:late';
import { isArray } from 'outbound:primordials';

const { Blob, File } = load('outbound:blob');
const errors = { Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };

const refuse = (text) => {
  throw new DOMException(`structuredClone: ${text}`, 'DataCloneError');
};

export function structuredClone(value, options = undefined) {
  demand('structuredClone', arguments.length, 1);
  const known = new Map();
  for (const buffer of options?.transfer ?? []) {
    if (!(buffer instanceof ArrayBuffer)) refuse('options.transfer has an entry that is no ArrayBuffer');
    known.set(buffer, buffer.transfer());
  }
  return copy(value, known);
}

function copy(value, known) {
  if (typeof value === 'function') refuse('a function cannot be cloned');
  if (typeof value === 'symbol') refuse('a symbol cannot be cloned');
  if (typeof value !== 'object' || value === null) return value;
  if (known.has(value)) return known.get(value);
  const made = begin(value, known);
  if (!known.has(value)) known.set(value, made);
  if (made instanceof Map) for (const [k, v] of [...value]) made.set(copy(k, known), copy(v, known));
  else if (made instanceof Set) for (const v of [...value]) made.add(copy(v, known));
  else if (isArray(made) || plain(made)) {
    for (const key of Object.keys(value)) {
      Object.defineProperty(made, key, { value: copy(value[key], known), writable: true, enumerable: true, configurable: true });
    }
  }
  return made;
}

const plain = (value) => Object.getPrototypeOf(value) === Object.prototype;

/** The empty copy of an object, or the whole one where it has no members of its own. */
function begin(value, known) {
  if (isArray(value)) return new Array(value.length);
  if (value instanceof Date) return new Date(value.getTime());
  if (value instanceof RegExp) return new RegExp(value.source, value.flags);
  if (value instanceof Map) return new Map();
  if (value instanceof Set) return new Set();
  if (value instanceof ArrayBuffer) return value.slice(0);
  if (ArrayBuffer.isView(value)) {
    const buffer = copy(value.buffer, known);
    return new value.constructor(buffer, value.byteOffset, value.length ?? value.byteLength);
  }
  if (value instanceof DOMException) return new DOMException(value.message, value.name);
  if (value instanceof Error) {
    const made = new (errors[value.name] ?? Error)(value.message);
    if ('cause' in value) made.cause = copy(value.cause, known);
    made.stack = value.stack;
    return made;
  }
  if (value instanceof File) return new File([value], value.name, { type: value.type, lastModified: value.lastModified });
  if (value instanceof Blob) return value.slice(0, value.size, value.type);
  if (value instanceof Boolean || value instanceof Number || value instanceof String || value instanceof BigInt) {
    return Object(value.valueOf());
  }
  const tag = Object.prototype.toString.call(value);
  if (tag !== '[object Object]') refuse(`${tag.slice(8, -1)} cannot be cloned`);
  return {};
}
