// What the files of the Web Platform Tests call, of their testharness.js: tests in three kinds,
// and assertions. A file's tests run in the invocation that imports it.

const PATIENCE = 2000;
const OK = null;
const results = [];
const waiting = [];
let queue = Promise.resolve();
let anonymous = 0;

class Failed extends Error {}

class Test {
  #cleanups = [];
  #settled = Promise.withResolvers();
  #over = false;

  constructor(name) {
    this.name = name ?? `untitled ${++anonymous}`;
  }
  step(run, self = this, ...values) {
    if (this.#over) return undefined;
    try {
      return Reflect.apply(run, self, values);
    } catch (error) {
      this.end(error);
      return undefined;
    }
  }
  step_func(run, self = this) {
    return (...values) => this.step(run, self, ...values);
  }
  step_func_done(run = () => {}, self = this) {
    return (...values) => {
      this.step(run, self, ...values);
      this.done();
    };
  }
  unreached_func(about) {
    return this.step_func(() => assert_unreached(about));
  }
  step_timeout(run, delay, ...values) {
    return setTimeout(() => this.step(run, this, ...values), delay);
  }
  add_cleanup(run) {
    this.#cleanups.push(run);
  }
  done() {
    this.end(OK);
  }
  end(error) {
    if (this.#over) return;
    this.#over = true;
    const failure = error === OK ? OK : `${error?.name}: ${error?.message ?? String(error)}`.toWellFormed();
    results.push({ name: this.name.toWellFormed(), failure });
    for (const run of this.#cleanups) {
      try {
        run();
      } catch {}
    }
    this.#settled.resolve();
  }
  /** Until it is over, or has taken too long. */
  async finished() {
    const timer = setTimeout(() => this.end(new Failed('timed out')), PATIENCE);
    await this.#settled.promise;
    clearTimeout(timer);
  }
}

function test(run, name) {
  const one = new Test(name);
  one.step(run, one, one);
  one.done();
}
function async_test(run, name) {
  const one = typeof run === 'function' ? new Test(name) : new Test(run);
  if (typeof run === 'function') one.step(run, one, one);
  waiting.push(one);
  return one;
}
function promise_test(run, name) {
  const one = new Test(name);
  waiting.push(one);
  const turn = () => {
    const failed = (error) => one.end(error ?? new Failed(`rejected with ${error}`));
    try {
      Promise.resolve(run(one)).then(() => one.done(), failed);
    } catch (error) {
      failed(error);
    }
    return one.finished();
  };
  queue = queue.then(turn);
}

const show = (value) => {
  if (typeof value === 'string') return JSON.stringify(value);
  if (Object.is(value, -0)) return '-0';
  try {
    return String(value);
  } catch {
    return typeof value;
  }
};
function claim(right, text, about) {
  if (!right) throw new Failed(about === undefined ? text : `${about}: ${text}`);
}
function assert_true(given, about) {
  claim(given === true, `${show(given)} instead of true`, about);
}
function assert_false(given, about) {
  claim(given === false, `${show(given)} instead of false`, about);
}
function assert_equals(given, expected, about) {
  claim(Object.is(given, expected), `${show(given)} instead of ${show(expected)}`, about);
}
function assert_not_equals(given, other, about) {
  claim(!Object.is(given, other), `${show(given)} is what it should not be`, about);
}
function assert_in_array(given, expected, about) {
  claim(expected.includes(given), `${show(given)} instead of one of ${show(expected)}`, about);
}
function assert_array_equals(given, expected, about) {
  const same = given?.length === expected.length && Array.from(expected).every((each, i) => Object.is(given[i], each));
  claim(same, `[${show(given)}] instead of [${show(expected)}]`, about);
}
function assert_object_equals(given, expected, about) {
  const keys = Object.keys(expected);
  claim(Object.keys(given).length === keys.length, 'other keys', about);
  for (const key of keys) {
    if (typeof expected[key] === 'object' && expected[key] !== null) assert_object_equals(given[key], expected[key], about);
    else assert_equals(given[key], expected[key], `${about} ${key}`);
  }
}
function assert_less_than(given, bound, about) {
  claim(given < bound, `${show(given)} is not below ${bound}`, about);
}
function assert_less_than_equal(given, bound, about) {
  claim(given <= bound, `${show(given)} is above ${bound}`, about);
}
function assert_greater_than(given, bound, about) {
  claim(given > bound, `${show(given)} is not above ${bound}`, about);
}
function assert_greater_than_equal(given, bound, about) {
  claim(given >= bound, `${show(given)} is below ${bound}`, about);
}
function assert_regexp_match(given, pattern, about) {
  claim(pattern.test(given), `${show(given)} does not match ${pattern}`, about);
}
function assert_class_string(given, name, about) {
  const tag = Object.prototype.toString.call(given);
  claim(tag === `[object ${name}]`, `${tag} instead of ${name}`, about);
}
function assert_own_property(given, name, about) {
  claim(Object.hasOwn(given, name), `has no own ${String(name)}`, about);
}
function assert_not_own_property(given, name, about) {
  claim(!Object.hasOwn(given, name), `has its own ${String(name)}`, about);
}
function assert_inherits(given, name, about) {
  claim(!Object.hasOwn(given, name) && name in given, `does not inherit ${String(name)}`, about);
}
function assert_idl_attribute(given, name, about) {
  claim(name in given, `has no ${String(name)}`, about);
}
function assert_readonly(given, name, about) {
  const before = given[name];
  try {
    given[name] = `${before}changed`;
  } catch {}
  assert_equals(given[name], before, about);
}
function assert_unreached(about) {
  claim(false, 'this should not be reached', about);
}
function assert_implements(given, about) {
  claim(given, 'is not offered', about);
}

const ofKind = (kind, error, about) => claim(error?.constructor === kind && error.name === kind.name, `${show(error)} instead of ${kind.name}`, about);
const ofName = (name, error, about) =>
  claim(error instanceof DOMException && (error.name === name || error.code === DOMException[name]), `${show(error)} instead of ${name}`, about);
const same = (expected, error, about) => claim(Object.is(expected, error), `${show(error)} instead of ${show(expected)}`, about);

const thrown = (check) => (expected, run, about) => {
  let error;
  try {
    run();
  } catch (caught) {
    return check(expected, caught, about);
  }
  return claim(false, 'nothing was thrown', about);
};
const rejected = (check) => (t, expected, promise, about) =>
  Promise.resolve(promise).then(
    () => claim(false, 'it was not rejected', about),
    (error) => check(expected, error, about),
  );

// Addresses in a page are relative to the page's own.
const page = 'https://json.test/page/page.html';
const absolute = (input) => (!(input instanceof NativeRequest) && URL.canParse(input, page) ? new URL(input, page).href : input);
const settled = (values) => (values.length === 0 ? values : [absolute(values[0]), ...values.slice(1)]);
const NativeRequest = Request;
const NativeFetch = fetch;
const { redirect } = Response;

Object.assign(globalThis, {
  test, async_test, promise_test,
  setup: (run) => typeof run === 'function' && run(),
  done() {},
  add_completion_callback() {},
  step_timeout: (run, delay, ...values) => setTimeout(run, delay, ...values),
  subsetTest: (kind, ...values) => kind(...values),
  format_value: show,
  assert_true, assert_false, assert_equals, assert_not_equals, assert_in_array, assert_array_equals,
  assert_object_equals, assert_less_than, assert_less_than_equal, assert_greater_than, assert_greater_than_equal,
  assert_regexp_match, assert_class_string, assert_own_property, assert_not_own_property, assert_inherits,
  assert_idl_attribute, assert_readonly, assert_unreached, assert_implements,
  assert_throws_js: thrown(ofKind), assert_throws_dom: thrown(ofName), assert_throws_exactly: thrown(same),
  promise_rejects_js: rejected(ofKind), promise_rejects_dom: rejected(ofName), promise_rejects_exactly: rejected(same),
  location: new URL(page),
  GLOBAL: { isWindow: () => false, isWorker: () => true, isShadowRealm: () => false },
  Request: new Proxy(NativeRequest, { construct: (of, values, by) => Reflect.construct(of, settled(values), by) }),
  fetch: (...values) => NativeFetch(...settled(values)),
});
Response.redirect = (...values) => redirect.apply(Response, settled(values));

export default {
  async fetch() {
    try {
      await import('./case.js');
    } catch (error) {
      new Test('the file itself').end(error);
    }
    await queue;
    await Promise.all(waiting.map((one) => one.finished()));
    return Response.json(results);
  },
};
