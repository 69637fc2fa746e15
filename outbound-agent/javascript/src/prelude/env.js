// What stands on env besides plain values: secrets that sign, maps whose entries expire.

import { native, wait, finish, uncurry } from 'outbound:native';
import { demand, dictionary, fail, text } from 'outbound:convert';

const { stringify } = JSON;
const inside = Symbol('inside');
const MOST_TOKENS = 1024;
const MOST_ENTRIES = 10000;
const time = /^([0-9]+)(ms|s|m|h|d)$/;
const exec = uncurry(RegExp.prototype.exec);
const UNITS = { ms: 1, s: 1e3, m: 6e4, h: 36e5, d: 864e5 };

/** Milliseconds of a number of seconds, or of a text with a unit. */
function milliseconds(value, api, argument) {
  if (typeof value === 'number' && value > 0) return value * 1e3;
  const match = typeof value === 'string' ? exec(time, value) : null;
  if (match === null) fail(api, `${argument} is ${stringify(value)}; accepted: seconds above 0, or a text such as "5m" (ms, s, m, h, d)`);
  return Number(match[1]) * UNITS[match[2]];
}

/** A secret of the service. It signs; nobody sees it. */
class Secret {
  #name;
  #tokens = new Map();

  constructor(key, name) {
    if (key !== inside) fail('Secret', 'cannot be constructed');
    this.#name = name;
  }
  /** A JSON Web Token with these claims; the same one until shortly before it expires. */
  async signJwt(claims, options = undefined) {
    demand('Secret.signJwt', arguments.length, 1);
    if (typeof claims !== 'object' || claims === null) fail('Secret.signJwt', 'claims is no object');
    const { expiresIn } = dictionary(options, 'Secret.signJwt', 'options');
    const seconds = expiresIn === undefined ? undefined : milliseconds(expiresIn, 'Secret.signJwt', 'options.expiresIn') / 1e3;
    const content = stringify(claims).toWellFormed();
    const key = `${seconds} ${content}`;
    const known = this.#tokens.get(key);
    if (known !== undefined && known.until > native.elapsed()) return known.token;
    const [token, reusable] = await wait(native.signJwt(this.#name, content, seconds));
    if (this.#tokens.size >= MOST_TOKENS) this.#tokens.delete(this.#tokens.keys().next().value);
    this.#tokens.set(key, { token, until: native.elapsed() + reusable });
    return token;
  }
  toString() {
    return `[secret ${this.#name}]`;
  }
}
finish(Secret);

/** A small map whose entries expire; it lives as long as the isolate. */
class Cache {
  #entries = new Map();

  constructor(key) {
    if (key !== inside) fail('Cache', 'cannot be constructed');
  }
  get(key) {
    demand('Cache.get', arguments.length, 1);
    const name = text(key, 'Cache.get', 'key');
    const entry = this.#entries.get(name);
    if (entry === undefined) return undefined;
    if (entry.until > native.elapsed()) return entry.value;
    this.#entries.delete(name);
    return undefined;
  }
  set(key, value, options) {
    demand('Cache.set', arguments.length, 3);
    const { ttl } = dictionary(options, 'Cache.set', 'options');
    const until = native.elapsed() + milliseconds(ttl, 'Cache.set', 'options.ttl');
    const name = text(key, 'Cache.set', 'key');
    this.#entries.delete(name);
    if (this.#entries.size >= MOST_ENTRIES) this.#entries.delete(this.#entries.keys().next().value);
    this.#entries.set(name, { value, until });
  }
  delete(key) {
    demand('Cache.delete', arguments.length, 1);
    return this.#entries.delete(text(key, 'Cache.delete', 'key'));
  }
}
finish(Cache);

/** The `env` of a module. */
export function environment({ vars, secrets, caches }) {
  const env = { ...vars };
  for (const name of secrets) env[name] = new Secret(inside, name);
  for (const name of caches) env[name] = new Cache(inside);
  return env;
}
