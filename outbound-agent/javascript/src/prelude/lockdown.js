// No code but the module's: eval and the function constructors are refused.

const refuse = (name) => {
  const refused = {
    [name]: function () {
      throw new EvalError(`${name}: code cannot be made of text here`);
    },
  };
  return refused[name];
};

export function lockdown() {
  globalThis.eval = refuse('eval');
  const kinds = [function () {}, async function () {}, function* () {}, async function* () {}];
  for (const kind of kinds) {
    const prototype = Object.getPrototypeOf(kind);
    const refused = refuse(prototype.constructor.name);
    Object.defineProperty(refused, 'prototype', { value: prototype });
    Object.defineProperty(prototype, 'constructor', { value: refused, writable: false, configurable: false });
  }
  Object.defineProperty(globalThis, 'Function', {
    value: Function.prototype.constructor,
    writable: true,
    configurable: true,
  });
}
