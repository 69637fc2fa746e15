// Tests in JavaScript, each by its name; the answer says which passed.

const tests = [];
export const test = (name, run) => tests.push({ name, run });

export function equal(given, expected, about = '') {
  const [a, b] = [show(given), show(expected)];
  if (a !== b) throw new Error(`${about} ${a} instead of ${b}`);
}
export function ok(given, about = '') {
  if (!given) throw new Error(`${about} is not so`);
}
export function throws(kind, run, part = '') {
  try {
    run();
  } catch (error) {
    return caught(kind, error, part);
  }
  throw new Error('nothing was thrown');
}
export async function rejects(kind, promise, part = '') {
  try {
    await promise;
  } catch (error) {
    return caught(kind, error, part);
  }
  throw new Error('it was not rejected');
}
function caught(kind, error, part) {
  if (error?.name !== kind) throw new Error(`${error?.name}: ${error?.message} instead of ${kind}`);
  if (!error.message.includes(part)) throw new Error(`"${error.message}" does not speak of "${part}"`);
}
const show = (value) =>
  value instanceof Uint8Array ? `[${value}]` : typeof value === 'string' ? JSON.stringify(value) : value === undefined ? 'undefined' : (JSON.stringify(value) ?? String(value));

export default {
  async fetch() {
    const failed = [];
    for (const { name, run } of tests) {
      try {
        await run();
      } catch (error) {
        failed.push(`${name}: ${error?.name}: ${error?.message}`);
      }
    }
    return Response.json({ passed: tests.length - failed.length, failed });
  },
};
