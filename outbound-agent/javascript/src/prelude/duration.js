// How long: what stands on env takes it so.

import { fail } from 'outbound:convert';
import { exec, stringify } from 'outbound:primordials';

const time = /^([0-9]+)(ms|s|m|h|d)$/;
const UNITS = { ms: 1, s: 1e3, m: 6e4, h: 36e5, d: 864e5 };

/** Milliseconds of a number of seconds, or of a text with a unit. */
export function milliseconds(value, api, argument) {
  if (typeof value === 'number' && value > 0) return value * 1e3;
  const match = typeof value === 'string' ? exec(time, value) : null;
  if (match === null) fail(api, `${argument} is ${stringify(value)}; accepted: seconds above 0, or a text such as "5m" (ms, s, m, h, d)`);
  return Number(match[1]) * UNITS[match[2]];
}
