// Modules that are loaded when they are first needed: most of an isolate's start would be theirs.
// They import only what is there from the start; of each other they `load`.

import { native } from 'outbound:native';
import { apply, defineProperty } from 'outbound:primordials';

const loaded = { __proto__: null };

/** What such a module exports. One that failed to load is tried anew. */
export function load(name) {
  const known = loaded[name];
  if (known !== undefined) return known;
  const exports = native.load(name);
  arrived[name]?.(exports);
  loaded[name] = exports;
  return exports;
}

/** A function of a module that is not there yet. */
const first = (name, key) => (...values) => apply(load(name)[key], undefined, values);
const none = () => false;

// Nothing can be of a class that is not there yet.
export let isBlob = none;
export let isFormData = none;
export let isReadable = none;
export let isSearchParams = none;
export let isSignal = none;
/** Without timers there is nothing to forget. */
export let forgetTimers = none;

export let makeReadable = first('outbound:readable', 'makeReadable');
export let readableOf = first('outbound:readable', 'readableOf');
export let makeSignal = first('outbound:abort', 'makeSignal');
export let makeSocket = first('outbound:socket', 'makeSocket');
export let parseMultipart = first('outbound:formdata', 'parseMultipart');
export let structuredClone = first('outbound:clone', 'structuredClone');

// Those that are given something of a class that is there.
export let blobBytes, coreOf, follow, multipart, onAbort, tee, isDecided, breakOffSocket;

/** Has the above be the module's own. */
const arrived = {
  __proto__: null,
  'outbound:abort': (own) => ({ follow, isSignal, makeSignal, onAbort } = own),
  'outbound:blob': (own) => ({ blobBytes, isBlob } = own),
  'outbound:clone': (own) => ({ structuredClone } = own),
  'outbound:formdata': (own) => ({ isFormData, multipart, parseMultipart } = own),
  'outbound:readable': (own) => ({ coreOf, isReadable, makeReadable, readableOf, tee } = own),
  'outbound:searchparams': (own) => ({ isSearchParams } = own),
  'outbound:socket': (own) => ({ breakOff: breakOffSocket, isDecided, makeSocket } = own),
  'outbound:timers': (own) => ({ forgetTimers } = own),
};

/** Makes a member of the global object what those of the web are. */
function put(member, value) {
  defineProperty(globalThis, member, { __proto__: null, value, writable: true, enumerable: false, configurable: true });
}

/** Puts members on the global object that are a late module's. */
export function exposeLate(name, members) {
  const late = { __proto__: null, get: undefined, set: undefined, configurable: true };
  for (let i = 0; i < members.length; i++) {
    const member = members[i];
    late.get = () => {
      const value = load(name)[member];
      put(member, value);
      return value;
    };
    late.set = (value) => put(member, value);
    defineProperty(globalThis, member, late);
  }
}
