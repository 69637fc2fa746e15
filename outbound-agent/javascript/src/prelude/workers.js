// The module "cloudflare:workers".

import { environment } from 'outbound:invoke';

/** A class whose instances answer: `env` and `ctx` are its own. */
export class WorkerEntrypoint {
  constructor(ctx, env) {
    this.ctx = ctx;
    this.env = env;
  }
}

/** What the module's `env` has whatever it is called for. */
export const env = new Proxy(
  {},
  {
    get: (target, name) => environment()[name],
    has: (target, name) => name in environment(),
    ownKeys: () => Reflect.ownKeys(environment()),
    getOwnPropertyDescriptor: (target, name) => Reflect.getOwnPropertyDescriptor(environment(), name),
    set: () => false,
  },
);
