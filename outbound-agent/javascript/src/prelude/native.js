// What Rust offers, and the waiting for it. Everything here is taken before the module runs.

export const native = { __proto__: null };

const { apply } = Reflect;
const { call } = Function.prototype;

/** `uncurry(Array.prototype.join)(list, ',')`, whatever becomes of the prototype later. */
export const uncurry = call.bind.bind(call);

export const mapGet = uncurry(Map.prototype.get);
export const mapSet = uncurry(Map.prototype.set);
export const mapDelete = uncurry(Map.prototype.delete);
export const then = uncurry(Promise.prototype.then);
export { apply };

const PromiseOf = Promise;

/** Promises without a look at what the module made of `Promise`. */
export const promised = {
  resolve: (value) => PromiseOf.resolve(value),
  reject: (error) => PromiseOf.reject(error),
  /** Runs a function; what it throws is a rejection. */
  outcome: (f) => {
    try {
      return PromiseOf.resolve(f());
    } catch (error) {
      return PromiseOf.reject(error);
    }
  },
};

const TypeErrorOf = TypeError;
const waiting = new Map();

/** A promise for the native operation of this number, or for what `make` makes of its result. */
export function wait(operation, make = undefined) {
  return new PromiseOf((resolve, reject) => {
    mapSet(waiting, operation, { resolve, reject, make });
  });
}

/** Called by Rust when an operation is done. */
export function settle(operation, failed, value) {
  const waiter = mapGet(waiting, operation);
  if (waiter === undefined) return;
  mapDelete(waiting, operation);
  if (failed) waiter.reject(new TypeErrorOf(value));
  else waiter.resolve(waiter.make === undefined ? value : waiter.make(value));
}

/** Ends an operation, and with a reason what waits for it. */
export function abandon(operation, reason) {
  native.forget(operation);
  const waiter = mapGet(waiting, operation);
  if (waiter === undefined) return;
  mapDelete(waiting, operation);
  waiter.reject(reason);
}

/** Called by Rust when operations ended with their invocation. */
export function forget(operations) {
  for (let i = 0; i < operations.length; i++) mapDelete(waiting, operations[i]);
}

/** Puts non-enumerable members on the global object, as the web does. */
export function expose(members) {
  const hidden = { value: undefined, writable: true, configurable: true, enumerable: false };
  for (const name in members) {
    hidden.value = members[name];
    Object.defineProperty(globalThis, name, hidden);
  }
}

/** Makes the members of a prototype enumerable and names its class, as Web IDL does. */
export function finish(constructor, name = constructor.name) {
  const { prototype } = constructor;
  const shown = { enumerable: true };
  for (const member of Object.getOwnPropertyNames(prototype)) {
    if (member !== 'constructor') Object.defineProperty(prototype, member, shown);
  }
  Object.defineProperty(prototype, Symbol.toStringTag, { value: name, configurable: true });
  return constructor;
}
