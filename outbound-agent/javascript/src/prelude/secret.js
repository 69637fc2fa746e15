// Secrets on env, which sign.

import { native, wait, finish } from 'outbound:native';
import { demand, dictionary, fail } from 'outbound:convert';
import { load } from 'outbound:late';
import { stringify } from 'outbound:primordials';

const inside = {};
const MOST_TOKENS = 1024;

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
    const seconds = expiresIn === undefined ? undefined : load('outbound:duration').milliseconds(expiresIn, 'Secret.signJwt', 'options.expiresIn') / 1e3;
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

export const makeSecret = (name) => new Secret(inside, name);
