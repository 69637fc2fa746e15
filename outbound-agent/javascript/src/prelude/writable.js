// WritableStream, its writer and its controller.

import { then, finish, promised, uncurry } from 'outbound:native';
import { fail } from 'outbound:convert';
import { AbortController } from 'outbound:abort';
import { strategyOf } from 'outbound:readable';

const shift = uncurry(Array.prototype.shift);
const PromiseOf = Promise;
const { apply } = Reflect;
const { rejected, resolved, outcome } = { rejected: promised.reject, resolved: promised.resolve, outcome: promised.outcome };
const ignore = () => {};
const inside = Symbol('inside');
const END = Symbol('end');

let coreOf, isWritable, makeWritable;

/** The state of one stream: writable, errored or closed. */
class Core {
  state = 'writable';
  error = undefined;
  queue = [];
  total = 0;
  highWater = 1;
  size = null;
  writer = null;
  started = false;
  busy = false;
  closing = false;
  write = ignore;
  close = ignore;
  abort = ignore;
  /** Made when somebody wants its signal. */
  aborter = null;
  stopped = null;
  closed = PromiseOf.withResolvers();
  ready = null;

  desired() {
    if (this.state === 'errored') return null;
    return this.state === 'closed' ? 0 : this.highWater - this.total;
  }

  /** Tells the writer whether to go on. */
  pressure() {
    const full = this.state === 'writable' && !this.closing && this.desired() <= 0;
    if (full && this.ready === null) {
      this.ready = PromiseOf.withResolvers();
      then(this.ready.promise, ignore, ignore);
    } else if (!full && this.ready !== null) {
      const { ready } = this;
      this.ready = null;
      if (this.state === 'errored') ready.reject(this.error);
      else ready.resolve(undefined);
    }
  }

  push(chunk) {
    if (this.state === 'errored') return rejected(this.error);
    if (this.closing || this.state === 'closed') {
      return rejected(new TypeError('WritableStream: the stream is closed or closing'));
    }
    let size = 0;
    if (chunk === END) {
      this.closing = true;
    } else {
      const { size: measure } = this;
      try {
        size = measure === null ? 1 : Number(measure(chunk));
      } catch (error) {
        this.fail(error);
        return rejected(error);
      }
    }
    const done = PromiseOf.withResolvers();
    this.queue[this.queue.length] = { chunk, size, done };
    this.total += size;
    this.pressure();
    this.advance();
    return done.promise;
  }

  advance() {
    if (!this.started || this.busy || this.queue.length === 0 || this.state !== 'writable') return;
    const { chunk, size, done } = this.queue[0];
    this.busy = true;
    const { write, close } = this;
    then(
      outcome(() => (chunk === END ? close() : write(chunk))),
      () => {
        this.busy = false;
        done.resolve(undefined);
        if (this.state !== 'writable') return;
        shift(this.queue);
        this.total = this.queue.length === 0 ? 0 : this.total - size;
        if (chunk === END) {
          this.state = 'closed';
          this.closed.resolve(undefined);
        }
        this.pressure();
        this.advance();
      },
      (error) => {
        this.busy = false;
        done.reject(error);
        if (this.state === 'writable') shift(this.queue);
        this.fail(error);
      },
    );
  }

  fail(error) {
    if (this.state !== 'writable') return;
    this.state = 'errored';
    this.error = error;
    const { queue } = this;
    this.queue = [];
    for (let i = this.busy ? 1 : 0; i < queue.length; i++) queue[i].done.reject(error);
    then(this.closed.promise, ignore, ignore);
    this.closed.reject(error);
    this.pressure();
  }

  stop(reason) {
    if (this.state !== 'writable') return resolved(undefined);
    if (this.aborter !== null) this.aborter.abort(reason);
    else this.stopped = { reason };
    this.fail(reason);
    const { abort } = this;
    return then(outcome(() => abort(reason)), ignore);
  }
}

class Controller {
  #core;

  constructor(key, core) {
    if (key !== inside) fail('WritableStreamDefaultController', 'cannot be constructed');
    this.#core = core;
  }
  get signal() {
    const core = this.#core;
    if (core.aborter === null) {
      core.aborter = new AbortController();
      if (core.stopped !== null) core.aborter.abort(core.stopped.reason);
    }
    return core.aborter.signal;
  }
  error(reason = undefined) {
    this.#core.fail(reason);
  }
}
finish(Controller, 'WritableStreamDefaultController');

class Writer {
  #core;
  #released = null;

  constructor(stream) {
    if (!isWritable(stream)) fail('WritableStreamDefaultWriter', 'stream is no WritableStream');
    const core = coreOf(stream);
    if (core.writer !== null) fail('WritableStreamDefaultWriter', 'the stream is locked to another writer');
    core.writer = this;
    this.#core = core;
    then(core.closed.promise, ignore, ignore);
  }

  get closed() {
    return this.#released ?? this.#core.closed.promise;
  }
  get ready() {
    if (this.#released !== null) return this.#released;
    const core = this.#core;
    if (core.state === 'errored') return silently(rejected(core.error));
    return core.ready === null ? resolved(undefined) : core.ready.promise;
  }
  get desiredSize() {
    if (this.#released !== null) fail('WritableStreamDefaultWriter.desiredSize', 'the lock was released');
    return this.#core.desired();
  }
  write(chunk = undefined) {
    return this.#released ?? silently(this.#core.push(chunk));
  }
  close() {
    return this.#released ?? silently(this.#core.push(END));
  }
  abort(reason = undefined) {
    return this.#released ?? this.#core.stop(reason);
  }
  releaseLock() {
    if (this.#released !== null) return;
    this.#released = silently(rejected(new TypeError('WritableStreamDefaultWriter: the lock was released')));
    this.#core.writer = null;
  }
}
finish(Writer, 'WritableStreamDefaultWriter');

/** A rejection that nobody has to handle. */
function silently(promise) {
  then(promise, ignore, ignore);
  return promise;
}

class WritableStream {
  #core = new Core();

  constructor(sink = undefined, strategy = undefined) {
    if (sink === inside) return;
    const core = this.#core;
    const underlying = sink === undefined ? {} : sink;
    if (typeof underlying !== 'object' || underlying === null) fail('WritableStream', 'underlyingSink is no object');
    const { start, write, close, abort, type } = underlying;
    if (type !== undefined) throw new RangeError('WritableStream: underlyingSink.type is not supported');
    for (const [name, given] of [['start', start], ['write', write], ['close', close], ['abort', abort]]) {
      if (given !== undefined && typeof given !== 'function') fail('WritableStream', `underlyingSink.${name} is no function`);
    }
    const { highWaterMark, size } = strategyOf(strategy, 1, 'WritableStream');
    core.highWater = highWaterMark;
    core.size = size;
    const controller = new Controller(inside, core);
    if (write !== undefined) core.write = (chunk) => apply(write, underlying, [chunk, controller]);
    if (close !== undefined) core.close = () => apply(close, underlying, []);
    if (abort !== undefined) core.abort = (reason) => apply(abort, underlying, [reason]);
    const started = start === undefined ? undefined : apply(start, underlying, [controller]);
    core.pressure();
    then(
      resolved(started),
      () => {
        core.started = true;
        core.advance();
      },
      (error) => core.fail(error),
    );
  }

  static {
    coreOf = (stream) => stream.#core;
    isWritable = (value) => typeof value === 'object' && value !== null && #core in value;
    makeWritable = (setup) => {
      const stream = new WritableStream(inside);
      stream.#core.started = true;
      setup(stream.#core);
      stream.#core.pressure();
      return stream;
    };
  }

  get locked() {
    return this.#core.writer !== null;
  }
  abort(reason = undefined) {
    if (this.locked) return rejected(new TypeError('WritableStream.abort: the stream is locked'));
    return this.#core.stop(reason);
  }
  close() {
    if (this.locked) return rejected(new TypeError('WritableStream.close: the stream is locked'));
    return silently(this.#core.push(END));
  }
  getWriter() {
    return new Writer(this);
  }
}
finish(WritableStream);

export {
  WritableStream,
  Writer as WritableStreamDefaultWriter,
  Controller as WritableStreamDefaultController,
  coreOf,
  isWritable,
  makeWritable,
};
