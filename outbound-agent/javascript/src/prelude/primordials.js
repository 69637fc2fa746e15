// What more than one module uses of the language, and what those that are loaded late do: taken
// before the operator's module can make something else of it.

import { uncurry } from 'outbound:native';

const { prototype: array } = Array;
const { prototype: string } = String;

export const ErrorOf = Error;
export const DOMExceptionOf = DOMException;
export const MapOf = Map;
export const SetOf = Set;
export const PromiseOf = Promise;
export const WeakMapOf = WeakMap;
export const { isArray } = Array;
export const { defineProperty, getOwnPropertyDescriptor, keys } = Object;
export const { stringify } = JSON;
export const { apply } = Reflect;
export const { asyncIterator, iterator } = Symbol;

export const exec = uncurry(RegExp.prototype.exec);
export const mapForEach = uncurry(Map.prototype.forEach);
export const shift = uncurry(array.shift);
export const sort = uncurry(array.sort);
export const slice = uncurry(string.slice);
export const split = uncurry(string.split);
export const test = uncurry(RegExp.prototype.test);
export const toWellFormed = uncurry(string.toWellFormed);
