// WritableStream, its writer and its controller.

import { then, finish, promised } from 'outbound:native';
import { fail } from 'outbound:convert';
import { load } from 'outbound:late';
import { PromiseOf, apply, shift } from 'outbound:primordials';

const { strategyOf } = load('outbound:readable');
const { rejected, resolved, outcome } = { rejected: promised.reject, resolved: promised.resolve, outcome: promised.outcome };
const ignore = () => {};
const inside = {};
const END = {};

let coreOf, isWritable, makeWritable;

/**
 * The state of one stream: writable, erroring while the sink is still at work, errored or closed.
 */
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
  /** What `stop` is to be answered with. */
  stopping = null;
  closed = PromiseOf.withResolvers();
  ready = null;

  desired() {
    if (this.failing()) return null;
    return this.state === 'closed' ? 0 : this.highWater - this.total;
  }

  failing() {
    return this.state === 'erroring' || this.state === 'errored';
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
      if (this.failing()) ready.reject(this.error);
      else ready.resolve(undefined);
    }
  }

  push(chunk) {
    const size = chunk === END ? 0 : this.measure(chunk);
    if (this.failing()) return rejected(this.error);
    if (this.closing || this.state === 'closed') {
      return rejected(new TypeError('WritableStream: the stream is closed or closing'));
    }
    if (chunk === END) this.closing = true;
    const done = PromiseOf.withResolvers();
    this.queue[this.queue.length] = { chunk, size, done };
    this.total += size;
    this.pressure();
    this.advance();
    return done.promise;
  }

  /** The size of a chunk; the stream fails where there is none. */
  measure(chunk) {
    const { size: measure } = this;
    if (measure === null) return 1;
    try {
      const size = Number(measure(chunk));
      if (size >= 0 && size !== Infinity) return size;
      this.fail(new RangeError('WritableStream: strategy.size gave no finite size'));
    } catch (error) {
      this.fail(error);
    }
    return 0;
  }

  advance() {
    if (this.state === 'erroring') {
      this.failed();
      return;
    }
    if (!this.started || this.busy || this.queue.length === 0 || this.state !== 'writable') return;
    const { chunk, size, done } = this.queue[0];
    this.busy = true;
    const { write, close } = this;
    then(
      outcome(() => (chunk === END ? close() : write(chunk))),
      () => {
        this.busy = false;
        done.resolve(undefined);
        shift(this.queue);
        this.total = this.queue.length === 0 ? 0 : this.total - size;
        if (chunk === END) {
          this.state = 'closed';
          this.closed.resolve(undefined);
          if (this.stopping !== null) this.stopping.done.resolve(undefined);
        }
        this.pressure();
        this.advance();
      },
      (error) => {
        this.busy = false;
        done.reject(error);
        shift(this.queue);
        if (chunk === END && this.stopping !== null) {
          this.stopping.done.reject(error);
          this.stopping = null;
        }
        this.fail(error);
        this.failed();
      },
    );
  }

  /** Takes nothing more; what the sink is doing it may still do. */
  fail(error) {
    if (this.state !== 'writable') return;
    this.state = 'erroring';
    this.error = error;
    this.pressure();
    if (this.started) this.failed();
  }

  /** The sink is no longer at work: it is told of an abort, and then everybody of the end. */
  failed() {
    if (this.state !== 'erroring' || this.busy) return;
    this.state = 'errored';
    const { queue, error, stopping } = this;
    this.queue = [];
    this.total = 0;
    for (let i = 0; i < queue.length; i++) queue[i].done.reject(error);
    const end = () => {
      then(this.closed.promise, ignore, ignore);
      this.closed.reject(error);
    };
    if (stopping === null || stopping.late) {
      if (stopping !== null) stopping.done.reject(error);
      end();
      return;
    }
    const { abort } = this;
    then(
      outcome(() => abort(stopping.reason)),
      () => {
        stopping.done.resolve(undefined);
        end();
      },
      (failure) => {
        stopping.done.reject(failure);
        end();
      },
    );
  }

  stop(reason) {
    if (this.state === 'closed' || this.state === 'errored') return resolved(undefined);
    if (this.stopping !== null) return this.stopping.done.promise;
    const done = PromiseOf.withResolvers();
    this.stopping = { reason, done, late: this.state === 'erroring' };
    if (this.aborter !== null) this.aborter.abort(reason);
    else this.stopped = { reason };
    this.fail(reason);
    return silently(done.promise);
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
      const { AbortController } = load('outbound:abort');
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
    if (core.failing()) return silently(rejected(core.error));
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
      (error) => {
        core.started = true;
        core.fail(error);
        core.failed();
      },
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
