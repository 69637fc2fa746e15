// What Rust offers, and the waiting for it. Everything here is taken before the module runs.

export const native = { __proto__: null };

const { call } = Function.prototype;
const { defineProperty, getOwnPropertyNames } = Object;
const { toStringTag } = Symbol;

/** `uncurry(Array.prototype.join)(list, ',')`, whatever becomes of the prototype later. */
export const uncurry = call.bind.bind(call);

export const mapGet = uncurry(Map.prototype.get);
export const mapSet = uncurry(Map.prototype.set);
export const mapDelete = uncurry(Map.prototype.delete);
export const then = uncurry(Promise.prototype.then);

const PromiseOf = Promise;

/** Promises without a look at what the module made of `Promise`. */
export const promised = {
  resolve: PromiseOf.resolve.bind(PromiseOf),
  reject: PromiseOf.reject.bind(PromiseOf),
  /** Runs a function; what it throws is a rejection. */
  outcome: (f) => {
    try {
      return promised.resolve(f());
    } catch (error) {
      return promised.reject(error);
    }
  },
};

/** A promise for the native operation of this number, or for what `make` makes of its result. */
export const wait = (operation, make = undefined) => native.wait(operation, make);

const steps = [];

/**
 * Keeps an object for each step of making one like this: the engine forgets a shape that no
 * object has, and then makes it anew each time.
 */
export function keepShapes(made) {
  const keys = Object.keys(made);
  for (let count = 0; count <= keys.length; count++) {
    const step = {};
    for (let i = 0; i < count; i++) step[keys[i]] = made[keys[i]];
    steps.push(step);
  }
}

/** As {@link keepShapes}, for a class whose objects have one private field. */
export function keepShapesOf(instance) {
  steps.push(instance, Object.create(Object.getPrototypeOf(instance)));
}

/** Puts non-enumerable members on the global object, as the web does. */
export function expose(members) {
  const hidden = { value: undefined, writable: true, configurable: true, enumerable: false };
  for (const name in members) {
    hidden.value = members[name];
    defineProperty(globalThis, name, hidden);
  }
}

/** Makes the members of a prototype enumerable and names its class, as Web IDL does. */
export function finish(constructor, name = constructor.name) {
  const { prototype } = constructor;
  const shown = { __proto__: null, enumerable: true };
  const members = getOwnPropertyNames(prototype);
  for (let i = 0; i < members.length; i++) {
    if (members[i] !== 'constructor') defineProperty(prototype, members[i], shown);
  }
  defineProperty(prototype, toStringTag, { __proto__: null, value: name, configurable: true });
  return constructor;
}
