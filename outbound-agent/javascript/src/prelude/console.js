// console: to the operator's diagnostics.

import { native } from 'outbound:native';
import { ErrorOf, MapOf, SetOf, isArray, keys, slice, toWellFormed } from 'outbound:primordials';

const DEEPEST = 3;
const MOST_MEMBERS = 100;
const LONGEST = 16384;

const say = (level) =>
  (...values) => {
    let line = '';
    for (let i = 0; i < values.length; i++) {
      line += (i === 0 ? '' : ' ') + (typeof values[i] === 'string' ? values[i] : show(values[i], 0));
    }
    native.console(level, toWellFormed(slice(line, 0, LONGEST)));
  };

const counts = { __proto__: null };
const timers = { __proto__: null };

export const console = {
  debug: say(0),
  trace: say(0),
  log: say(1),
  info: say(1),
  dir: say(1),
  table: say(1),
  group: say(1),
  groupEnd() {},
  warn: say(2),
  error: say(3),
  assert(condition, ...values) {
    if (!condition) console.error('Assertion failed:', ...values);
  },
  count(label = 'default') {
    counts[label] = (counts[label] ?? 0) + 1;
    console.info(`${label}: ${counts[label]}`);
  },
  countReset(label = 'default') {
    delete counts[label];
  },
  time(label = 'default') {
    timers[label] = native.elapsed();
  },
  timeLog(label = 'default', ...values) {
    if (label in timers) console.info(`${label}: ${native.elapsed() - timers[label]}ms`, ...values);
  },
  timeEnd(label = 'default') {
    console.timeLog(label);
    delete timers[label];
  },
};

/** A value as an operator would write it; getters are run, what they throw is shown. */
function show(value, depth) {
  try {
    switch (typeof value) {
      case 'string':
        return JSON.stringify(value);
      case 'function':
        return `[function ${value.name}]`;
      case 'bigint':
        return `${value}n`;
      case 'object':
        return value === null ? 'null' : showObject(value, depth);
      default:
        return String(value);
    }
  } catch (error) {
    return '[cannot be shown]';
  }
}

function showObject(value, depth) {
  if (value instanceof ErrorOf) return `${value.name}: ${value.message}\n${value.stack ?? ''}`;
  if (depth >= DEEPEST) return isArray(value) ? '[…]' : '{…}';
  if (value instanceof MapOf || value instanceof SetOf) {
    return `${value.constructor.name} ${show([...value], depth + 1)}`;
  }
  const parts = [];
  const names = keys(value);
  for (let i = 0; i < names.length && i < MOST_MEMBERS; i++) {
    const shown = show(value[names[i]], depth + 1);
    parts[i] = isArray(value) ? shown : `${names[i]}: ${shown}`;
  }
  if (names.length > MOST_MEMBERS) parts[MOST_MEMBERS] = '…';
  const text = parts.join(', ');
  if (isArray(value)) return `[${text}]`;
  const name = value.constructor?.name;
  return `${name === undefined || name === 'Object' ? '' : `${name} `}{ ${text} }`;
}
