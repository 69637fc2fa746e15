// ReadableStream, its readers and its controller. One that is a body of Rust and was not touched
// yet is only a number, and can be handed on as such.

import { native, wait, then, finish, promised } from 'outbound:native';
import { bytesOf, dictionary, fail, isBuffer, range } from 'outbound:convert';
import { load } from 'outbound:late';
import { PromiseOf, apply, asyncIterator, defineProperty } from 'outbound:primordials';

const { Core } = load('outbound:source');
const { resolve: resolved, reject: rejected } = promised;
const ignore = () => {};

// Ways in for the other parts of the prelude.
let coreOf, isReadable, readableOf;

class Controller {
  #core;

  constructor(key, core) {
    if (key !== inside) fail('ReadableStreamDefaultController', 'cannot be constructed');
    this.#core = core;
  }

  get desiredSize() {
    return this.#core.desired();
  }
  /** Byte streams hand out no requests of a reader: what is read is copied. */
  get byobRequest() {
    return null;
  }
  enqueue(chunk = undefined) {
    const core = this.#core;
    if (core.state !== 'readable' || core.closing) {
      fail('ReadableStreamDefaultController.enqueue', 'the stream is closed or errored');
    }
    if (core.bytes) {
      if (!isBuffer(chunk)) fail('ReadableByteStreamController.enqueue', 'chunk is no view of a buffer');
      const bytes = bytesOf(chunk);
      if (bytes.byteLength === 0) fail('ReadableByteStreamController.enqueue', 'chunk is empty');
      core.enqueue(bytes);
      return;
    }
    core.enqueue(chunk);
  }
  close() {
    const core = this.#core;
    if (core.state !== 'readable' || core.closing) {
      fail('ReadableStreamDefaultController.close', 'the stream is closed or errored');
    }
    core.close();
  }
  error(reason = undefined) {
    this.#core.fail(reason);
  }
}
finish(Controller, 'ReadableStreamDefaultController');

class Reader {
  #core;
  #closed;

  constructor(stream) {
    if (!isReadable(stream)) fail('ReadableStreamDefaultReader', 'stream is no ReadableStream');
    const core = coreOf(stream);
    if (core.reader !== null) fail('ReadableStreamDefaultReader', 'the stream is locked to another reader');
    this.#core = core;
    this.#closed = PromiseOf.withResolvers();
    then(this.#closed.promise, ignore, ignore);
    core.reader = { closed: this.#closed };
    if (core.state === 'closed') this.#closed.resolve(undefined);
    if (core.state === 'errored') this.#closed.reject(core.error);
  }

  get closed() {
    return this.#closed.promise;
  }
  read() {
    if (this.#core === null) return rejected(new TypeError('ReadableStreamDefaultReader.read: the lock was released'));
    return this.#core.read();
  }
  cancel(reason = undefined) {
    if (this.#core === null) return rejected(new TypeError('ReadableStreamDefaultReader.cancel: the lock was released'));
    return this.#core.cancel(reason);
  }
  releaseLock() {
    const core = this.#core;
    if (core === null) return;
    const error = new TypeError('ReadableStreamDefaultReader: the lock was released');
    const { requests } = core;
    core.requests = [];
    for (let i = 0; i < requests.length; i++) requests[i].reject(error);
    if (core.state !== 'readable') this.#closed = PromiseOf.withResolvers();
    this.#closed.reject(error);
    then(this.#closed.promise, ignore, ignore);
    core.reader = null;
    this.#core = null;
  }
}
finish(Reader, 'ReadableStreamDefaultReader');

/** Reads into a buffer of the caller. What does not fit waits for the next call. */
class ByobReader {
  #reader;
  #stream;

  constructor(stream) {
    if (!isReadable(stream) || !coreOf(stream).bytes) fail('ReadableStreamBYOBReader', 'stream is no byte stream');
    this.#reader = new Reader(stream);
    this.#stream = coreOf(stream);
  }
  get closed() {
    return this.#reader.closed;
  }
  async read(view) {
    const target = bytesOf(view, 'ReadableStreamBYOBReader.read', 'view');
    if (target.byteLength === 0) fail('ReadableStreamBYOBReader.read', 'view is empty');
    const { value, done } = await this.#reader.read();
    const length = done ? 0 : value.byteLength < target.byteLength ? value.byteLength : target.byteLength;
    if (!done) {
      target.set(value.subarray(0, length));
      if (length < value.byteLength) {
        const rest = value.subarray(length);
        this.#stream.queue.unshift({ chunk: rest, size: rest.byteLength });
        this.#stream.total += rest.byteLength;
      }
    }
    const part = new view.constructor(target.buffer, target.byteOffset, length / (view.BYTES_PER_ELEMENT ?? 1));
    return { value: part, done };
  }
  cancel(reason = undefined) {
    return this.#reader.cancel(reason);
  }
  releaseLock() {
    this.#reader.releaseLock();
  }
}
finish(ByobReader, 'ReadableStreamBYOBReader');

const inside = {};

class ReadableStream {
  #core;

  constructor(source = undefined, strategy = undefined) {
    const core = new Core();
    this.#core = core;
    if (source === inside) return;
    const underlying = source === undefined ? {} : source;
    if (typeof underlying !== 'object' || underlying === null) fail('ReadableStream', 'underlyingSource is no object');
    const { start, pull, cancel, type } = underlying;
    for (const [name, given] of [['start', start], ['pull', pull], ['cancel', cancel]]) {
      if (given !== undefined && typeof given !== 'function') fail('ReadableStream', `underlyingSource.${name} is no function`);
    }
    if (type !== undefined && `${type}` !== 'bytes') fail('ReadableStream', `underlyingSource.type is "${type}"; accepted: bytes`);
    core.bytes = type !== undefined;
    const { highWaterMark, size } = strategyOf(strategy, core.bytes ? 0 : 1, 'ReadableStream');
    core.highWater = highWaterMark;
    core.size = core.bytes ? null : size;
    const controller = new Controller(inside, core);
    if (pull !== undefined) core.pull = () => apply(pull, underlying, [controller]);
    if (cancel !== undefined) core.cancelSource = (reason) => apply(cancel, underlying, [reason]);
    const started = start === undefined ? undefined : apply(start, underlying, [controller]);
    then(
      resolved(started),
      () => {
        core.started = true;
        core.more();
      },
      (error) => core.fail(error),
    );
  }

  static {
    coreOf = (stream) => stream.#core;
    isReadable = (value) => typeof value === 'object' && value !== null && #core in value;
    readableOf = (body) => {
      const stream = new ReadableStream(inside);
      const core = stream.#core;
      core.body = body;
      core.bytes = true;
      core.highWater = 0;
      core.started = true;
      core.pull = () => {
        core.body = 0;
        return then(wait(native.bodyRead(body)), (chunk) => {
          if (core.state !== 'readable') native.bodyCancel(body);
          else if (chunk === null) core.close();
          else core.enqueue(chunk);
        });
      };
      core.cancelSource = () => native.bodyCancel(body);
      return stream;
    };
  }

  static from(iterable) {
    const method = iterable?.[Symbol.asyncIterator] ?? iterable?.[Symbol.iterator];
    if (typeof method !== 'function') fail('ReadableStream.from', 'iterable cannot be iterated');
    const iterator = apply(method, iterable, []);
    return new ReadableStream(
      {
        async pull(controller) {
          const { value, done } = await iterator.next();
          if (done) controller.close();
          else controller.enqueue(await value);
        },
        async cancel(reason) {
          await iterator.return?.(reason);
        },
      },
      { highWaterMark: 0 },
    );
  }

  get locked() {
    return this.#core.reader !== null;
  }
  cancel(reason = undefined) {
    if (this.locked) return rejected(new TypeError('ReadableStream.cancel: the stream is locked'));
    return this.#core.cancel(reason);
  }
  getReader(options = undefined) {
    const { mode } = dictionary(options, 'ReadableStream.getReader', 'options');
    if (mode === undefined) return new Reader(this);
    if (`${mode}` !== 'byob') fail('ReadableStream.getReader', `options.mode is "${mode}"; accepted: byob`);
    return new ByobReader(this);
  }
  pipeThrough(transform, options = undefined) {
    return load('outbound:transform').pipeThrough(this, transform, options);
  }
  pipeTo(destination, options = undefined) {
    return load('outbound:transform').pipeTo(this, destination, options);
  }
  tee() {
    return tee(this, this.#core);
  }
  async *values(options = undefined) {
    const { preventCancel = false } = dictionary(options, 'ReadableStream.values', 'options');
    const reader = this.getReader();
    let over = false;
    try {
      for (;;) {
        const { value, done } = await reader.read();
        over = done;
        if (done) return;
        yield value;
      }
    } catch (error) {
      over = true;
      throw error;
    } finally {
      if (!over && !preventCancel) await reader.cancel();
      reader.releaseLock();
    }
  }
}
defineProperty(ReadableStream.prototype, asyncIterator, {
  value: ReadableStream.prototype.values,
  writable: true,
  configurable: true,
});
finish(ReadableStream);

/** What a queuing strategy says, checked. */
export function strategyOf(strategy, otherwise, api) {
  const { highWaterMark, size } = dictionary(strategy, api, 'strategy');
  const mark = highWaterMark === undefined ? otherwise : Number(highWaterMark);
  if (!(mark >= 0)) range(api, 'strategy.highWaterMark is no number of 0 or more');
  if (size !== undefined && typeof size !== 'function') fail(api, 'strategy.size is no function');
  return { highWaterMark: mark, size: size ?? null };
}

/**
 * Two streams of the same chunks; the slower one holds what the faster one has read. `copied`
 * makes the chunks of the second one; bytes are never shared.
 */
export function tee(stream, source, copied = (chunk) => chunk) {
  const reader = stream.getReader();
  const failed = (error) => {
    cores[0].fail(error);
    cores[1].fail(error);
    cancelled.resolve(undefined);
  };
  const cancelled = PromiseOf.withResolvers();
  const reasons = [];
  const branches = [];
  const cores = [];
  let reading = false;
  let again = false;
  const pull = () => {
    if (reading) {
      again = true;
      return;
    }
    reading = true;
    then(
      reader.read(),
      ({ value, done }) => {
        reading = false;
        let other;
        try {
          if (!done) other = source.bytes ? value.slice() : copied(value);
        } catch (error) {
          failed(error);
          then(reader.cancel(error), ignore, ignore);
          return;
        }
        for (let i = 0; i < 2; i++) {
          if (cores[i].state !== 'readable' || cores[i].closing) continue;
          if (done) cores[i].close();
          else cores[i].enqueue(i === 0 ? value : other);
        }
        if (done) cancelled.resolve(undefined);
        if (again) {
          again = false;
          pull();
        }
      },
      failed,
    );
  };
  for (let i = 0; i < 2; i++) {
    branches[i] = new ReadableStream(inside);
    const core = coreOf(branches[i]);
    core.bytes = source.bytes;
    core.highWater = 0;
    core.started = true;
    core.pull = pull;
    core.cancelSource = (reason) => {
      reasons[i] = reason;
      if (cores[1 - i].state === 'closed') then(reader.cancel(reasons), cancelled.resolve, cancelled.reject);
      return cancelled.promise;
    };
    core.origin = source;
    cores[i] = core;
  }
  then(reader.closed, ignore, failed);
  return branches;
}

/** A stream whose chunks come from elsewhere in the prelude. */
export function makeReadable(setup) {
  const stream = new ReadableStream(inside);
  const core = coreOf(stream);
  core.started = true;
  setup(core);
  return stream;
}

export {
  ReadableStream,
  Reader as ReadableStreamDefaultReader,
  ByobReader as ReadableStreamBYOBReader,
  Controller as ReadableStreamDefaultController,
  coreOf,
  isReadable,
  readableOf,
  inside,
};
