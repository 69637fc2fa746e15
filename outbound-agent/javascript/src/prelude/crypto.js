// crypto: keys are parsed once, in Rust, and stay there unless they may be exported.

import { native, finish } from 'outbound:native';
import { bytesOf, demand, fail } from 'outbound:convert';
import { DOMExceptionOf } from 'outbound:primordials';

const inside = {};

const error = (name, api, text) => {
  throw new DOMExceptionOf(`${api}: ${text}`, name);
};

const HASHES = ['SHA-1', 'SHA-256', 'SHA-384', 'SHA-512'];
const BLOCKS = { 'SHA-1': 64, 'SHA-256': 64, 'SHA-384': 128, 'SHA-512': 128 };
const CURVES = ['P-256', 'P-384'];
const ALGORITHMS = ['HMAC', 'RSASSA-PKCS1-v1_5', 'ECDSA', 'Ed25519'];
const FORMATS = ['raw', 'pkcs8', 'spki', 'jwk'];
const USAGES = ['encrypt', 'decrypt', 'sign', 'verify', 'deriveKey', 'deriveBits', 'wrapKey', 'unwrapKey'];

let make, keyOf;

class CryptoKey {
  #number;
  #type;
  #algorithm;
  #extractable;
  #usages;

  constructor(key, number, type, algorithm, extractable, usages) {
    if (key !== inside) fail('CryptoKey', 'cannot be constructed');
    this.#number = number;
    this.#type = type;
    this.#algorithm = algorithm;
    this.#extractable = extractable;
    this.#usages = usages;
  }
  static {
    make = (...parts) => new CryptoKey(inside, ...parts);
    keyOf = (key, usage, api) => {
      if (typeof key !== 'object' || key === null || !(#number in key)) fail(api, 'key is no CryptoKey');
      if (usage !== null && !key.#usages.includes(usage)) error('InvalidAccessError', api, `key may not be used to ${usage}`);
      return { number: key.#number, algorithm: key.#algorithm, extractable: key.#extractable, type: key.#type };
    };
  }
  get type() {
    return this.#type;
  }
  get extractable() {
    return this.#extractable;
  }
  get algorithm() {
    return { ...this.#algorithm };
  }
  get usages() {
    return [...this.#usages];
  }
}
finish(CryptoKey);

function named(given, accepted, api, argument) {
  const name = typeof given === 'string' ? given : given?.name;
  if (name === undefined) fail(api, `${argument} has no name`);
  const found = accepted.find((known) => known.toLowerCase() === `${name}`.toLowerCase());
  if (found === undefined) error('NotSupportedError', api, `${argument} is ${JSON.stringify(name)}; accepted: ${accepted.join(', ')}`);
  return found;
}

/** The algorithm of a key, as `algorithm` shows it. */
function described(given, api) {
  const name = named(given, ALGORITHMS, api, 'algorithm');
  if (name === 'Ed25519') return { name };
  if (name === 'ECDSA') return { name, namedCurve: named(given.namedCurve ?? {}, CURVES, api, 'algorithm.namedCurve') };
  return { name, hash: { name: named(given.hash ?? {}, HASHES, api, 'algorithm.hash') } };
}

function used(usages, accepted, api) {
  const found = [];
  for (const usage of usages) {
    if (!USAGES.includes(usage)) fail(api, `keyUsages has "${usage}", which is no usage`);
    if (!accepted.includes(usage)) error('SyntaxError', api, `keyUsages has "${usage}"; accepted for this key: ${accepted.join(', ')}`);
    if (!found.includes(usage)) found.push(usage);
  }
  return found;
}

const curveOrHash = ({ namedCurve, hash }) => namedCurve ?? hash?.name ?? '';

class SubtleCrypto {
  constructor(key) {
    if (key !== inside) fail('SubtleCrypto', 'cannot be constructed');
  }

  async digest(algorithm, data) {
    const api = 'SubtleCrypto.digest';
    demand(api, arguments.length, 2);
    return native.digest(named(algorithm, HASHES, api, 'algorithm'), bytesOf(data, api, 'data')).buffer;
  }

  async importKey(format, keyData, algorithm, extractable, keyUsages) {
    const api = 'SubtleCrypto.importKey';
    demand(api, arguments.length, 5);
    if (!FORMATS.includes(`${format}`)) fail(api, `format is "${format}"; accepted: ${FORMATS.join(', ')}`);
    const description = described(algorithm, api);
    let data;
    if (format === 'jwk') {
      if (typeof keyData !== 'object' || keyData === null || ArrayBuffer.isView(keyData)) fail(api, 'keyData is no JsonWebKey');
      if (keyData.ext === false && extractable) error('DataError', api, 'keyData.ext is false, extractable is true');
      data = native.encode(JSON.stringify(keyData));
    } else {
      data = bytesOf(keyData, api, 'keyData');
    }
    const imported = native.importKey(format, description.name, curveOrHash(description), data);
    if (typeof imported === 'string') error('DataError', api, `keyData ${imported}`);
    const [number, type, bits] = imported;
    const accepted = type === 'secret' ? ['sign', 'verify'] : type === 'private' ? ['sign'] : ['verify'];
    const usages = used(keyUsages, accepted, api);
    if (usages.length === 0 && type !== 'public') error('SyntaxError', api, 'keyUsages is empty');
    if (description.name === 'HMAC') description.length = bits;
    if (description.name === 'RSASSA-PKCS1-v1_5') description.modulusLength = bits;
    return make(number, type, description, Boolean(extractable), usages);
  }

  async exportKey(format, key) {
    const api = 'SubtleCrypto.exportKey';
    demand(api, arguments.length, 2);
    const { number, extractable, type, algorithm } = keyOf(key, null, api);
    if (!extractable) error('InvalidAccessError', api, 'key may not be exported');
    if (type !== 'secret' || (format !== 'raw' && format !== 'jwk')) {
      error('NotSupportedError', api, 'only HMAC keys can be exported, as raw or jwk');
    }
    const raw = native.exportKey(number);
    if (format === 'raw') return raw.buffer;
    return { kty: 'oct', k: raw.toBase64({ alphabet: 'base64url', omitPadding: true }), alg: `HS${algorithm.hash.name.slice(4)}`, ext: true, key_ops: key.usages };
  }

  async generateKey(algorithm, extractable, keyUsages) {
    const api = 'SubtleCrypto.generateKey';
    demand(api, arguments.length, 3);
    const description = described(algorithm, api);
    if (description.name !== 'HMAC') error('NotSupportedError', api, 'only HMAC keys can be generated');
    const bits = algorithm.length ?? BLOCKS[description.hash.name] * 8;
    const raw = native.random(Math.ceil(bits / 8));
    return this.importKey('raw', raw, { ...description }, extractable, keyUsages);
  }

  async sign(algorithm, key, data) {
    const api = 'SubtleCrypto.sign';
    demand(api, arguments.length, 3);
    const number = matched(algorithm, key, 'sign', api);
    const signature = native.sign(number, bytesOf(data, api, 'data'));
    if (signature === undefined) error('OperationError', api, 'the key cannot sign this');
    return signature.buffer;
  }

  async verify(algorithm, key, signature, data) {
    const api = 'SubtleCrypto.verify';
    demand(api, arguments.length, 4);
    const number = matched(algorithm, key, 'verify', api);
    return native.verify(number, bytesOf(signature, api, 'signature'), bytesOf(data, api, 'data'));
  }
}
finish(SubtleCrypto);

/** The key in Rust, where the algorithm asked for is the key's own. */
function matched(given, key, usage, api) {
  const { number, algorithm } = keyOf(key, usage, api);
  const name = named(given, ALGORITHMS, api, 'algorithm');
  if (name !== algorithm.name) error('InvalidAccessError', api, `key is for ${algorithm.name}, not for ${name}`);
  const hash = name === 'ECDSA' ? named(given.hash ?? {}, HASHES, api, 'algorithm.hash') : '';
  const expected = { 'P-256': 'SHA-256', 'P-384': 'SHA-384' }[algorithm.namedCurve];
  if (name === 'ECDSA' && hash !== expected) {
    error('NotSupportedError', api, `algorithm.hash is ${hash}; accepted for ${algorithm.namedCurve}: ${expected}`);
  }
  return number;
}

class Crypto {
  #subtle;
  constructor(key) {
    if (key !== inside) fail('Crypto', 'cannot be constructed');
    this.#subtle = new SubtleCrypto(inside);
  }
  get subtle() {
    return this.#subtle;
  }
  getRandomValues(array) {
    demand('Crypto.getRandomValues', arguments.length, 1);
    if (!ArrayBuffer.isView(array) || array instanceof DataView || array instanceof Float32Array || array instanceof Float64Array) {
      error('TypeMismatchError', 'Crypto.getRandomValues', 'array is no array of integers');
    }
    if (array.byteLength > 65536) {
      error('QuotaExceededError', 'Crypto.getRandomValues', `array has ${array.byteLength} bytes; accepted: up to 65536`);
    }
    bytesOf(array).set(native.random(array.byteLength));
    return array;
  }
  randomUUID() {
    const bytes = native.random(16);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    const hex = bytes.toHex();
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  }
}
finish(Crypto);

export const crypto = new Crypto(inside);
export { Crypto, CryptoKey, SubtleCrypto };
