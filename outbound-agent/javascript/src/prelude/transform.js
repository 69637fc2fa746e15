// TransformStream, pipes, strategies. An identity transform of an untouched body of Rust is that
// body.

import { then, finish, promised } from 'outbound:native';
import { dictionary, fail } from 'outbound:convert';
import { isSignal, load, onAbort } from 'outbound:late';
import { PromiseOf, WeakMapOf, apply } from 'outbound:primordials';

const { coreOf: readableCore, isReadable, makeReadable, readableOf, strategyOf } = load('outbound:readable');
const { coreOf: writableCore, isWritable, makeWritable } = load('outbound:writable');
const ignore = () => {};
const { resolve: resolved, reject: rejected, outcome } = promised;

/** Writable ends of transforms that change nothing, with what replaces their readable end. */
const identities = new WeakMapOf();

class Controller {
  #readable;
  #error;
  #close;

  constructor(key, readable, error, close) {
    if (key !== identities) fail('TransformStreamDefaultController', 'cannot be constructed');
    this.#readable = readable;
    this.#error = error;
    this.#close = close;
  }
  get desiredSize() {
    return this.#readable.desired();
  }
  enqueue(chunk = undefined) {
    const core = this.#readable;
    if (core.state !== 'readable' || core.closing) {
      fail('TransformStreamDefaultController.enqueue', 'the readable end is closed or errored');
    }
    try {
      core.enqueue(chunk);
    } catch (reason) {
      this.#error(reason, true);
      throw core.error;
    }
  }
  error(reason = undefined) {
    this.#error(reason);
  }
  terminate() {
    this.#close();
    this.#error(new TypeError('TransformStream: terminated'), true);
  }
}
finish(Controller, 'TransformStreamDefaultController');

class TransformStream {
  #readable;
  #writable;

  constructor(transformer = undefined, writableStrategy = undefined, readableStrategy = undefined) {
    const under = transformer ?? {};
    if (typeof under !== 'object') fail('TransformStream', 'transformer is no object');
    const { start, transform, flush, cancel } = under;
    for (const [name, given] of [['start', start], ['transform', transform], ['flush', flush], ['cancel', cancel]]) {
      if (given !== undefined && typeof given !== 'function') fail('TransformStream', `transformer.${name} is no function`);
    }
    const input = strategyOf(writableStrategy, 1, 'TransformStream');
    const output = strategyOf(readableStrategy, 0, 'TransformStream');
    let readable, writable;
    let wanted = PromiseOf.withResolvers();
    const error = (reason, writableOnly = false) => {
      if (!writableOnly) readable.fail(reason);
      writable.fail(reason);
      wanted.resolve(undefined);
    };
    // It ends once, by whichever side is first; the other waits for the same.
    let ending = null;
    const end = (run, settle, failed) => (ending ??= then(outcome(run), settle, (reason) => {
      failed(reason);
      throw reason;
    }));
    const cancelled = (reason) => (cancel === undefined ? undefined : apply(cancel, under, [reason]));
    this.#readable = makeReadable((core) => {
      readable = core;
      core.highWater = output.highWaterMark;
      core.size = output.size;
      core.pull = () => {
        wanted.resolve(undefined);
      };
      core.cancelSource = (reason) => {
        const settle = () => {
          if (writable.state === 'errored') throw writable.error;
          error(reason, true);
        };
        return end(() => cancelled(reason), settle, (failure) => error(failure, true));
      };
    });
    const controller = new Controller(identities, readable, error, () => readable.close());
    const change = transform === undefined ? (chunk) => controller.enqueue(chunk) : (chunk) => apply(transform, under, [chunk, controller]);
    this.#writable = makeWritable((core) => {
      writable = core;
      core.highWater = input.highWaterMark;
      core.size = input.size;
      core.started = false;
      core.write = async (chunk) => {
        while (readable.state === 'readable' && readable.desired() <= 0 && readable.requests.length === 0) {
          wanted = PromiseOf.withResolvers();
          await wanted.promise;
        }
        if (core.failing()) throw core.error;
        try {
          await change(chunk);
        } catch (reason) {
          error(reason);
          throw reason;
        }
      };
      core.close = () => {
        const settle = () => {
          if (readable.state === 'errored') throw readable.error;
          if (readable.state === 'readable' && !readable.closing) readable.close();
        };
        return end(() => (flush === undefined ? undefined : apply(flush, under, [controller])), settle, (failure) => readable.fail(failure));
      };
      core.abort = (reason) => {
        const settle = () => {
          if (readable.state === 'errored') throw readable.error;
          readable.fail(reason);
        };
        return end(() => cancelled(reason), settle, (failure) => readable.fail(failure));
      };
    });
    const started = start === undefined ? undefined : apply(start, under, [controller]);
    then(
      resolved(started),
      () => {
        writable.started = true;
        writable.advance();
      },
      (reason) => {
        writable.started = true;
        error(reason);
        writable.failed();
      },
    );
    if (start === undefined && transform === undefined && flush === undefined && cancel === undefined) {
      identities.set(this.#writable, (stream) => {
        this.#readable = stream;
      });
    }
  }

  get readable() {
    return this.#readable;
  }
  get writable() {
    return this.#writable;
  }
}
finish(TransformStream);

/** As workerd has it: bytes in, the same bytes out. */
class IdentityTransformStream extends TransformStream {}
class FixedLengthStream extends TransformStream {
  constructor(length) {
    const expected = Number(length);
    let seen = 0;
    super({
      transform(chunk, controller) {
        seen += chunk.byteLength;
        if (seen > expected) fail('FixedLengthStream', `more than ${expected} bytes were written`);
        controller.enqueue(chunk);
      },
      flush() {
        if (seen < expected) fail('FixedLengthStream', `${seen} bytes were written instead of ${expected}`);
      },
    });
  }
}

export function pipeThrough(stream, transform, options) {
  const source = readableCore(stream);
  const { readable, writable } = dictionary(transform, 'ReadableStream.pipeThrough', 'transform');
  if (!isReadable(readable)) fail('ReadableStream.pipeThrough', 'transform.readable is no ReadableStream');
  if (!isWritable(writable)) fail('ReadableStream.pipeThrough', 'transform.writable is no WritableStream');
  if (source.reader !== null) fail('ReadableStream.pipeThrough', 'the stream is locked');
  const end = writableCore(writable);
  if (end.writer !== null) fail('ReadableStream.pipeThrough', 'transform.writable is locked');
  const replace = identities.get(writable);
  const target = readableCore(readable);
  const untouched = end.queue.length === 0 && end.state === 'writable' && !target.disturbed && target.reader === null;
  if (options === undefined && replace !== undefined && untouched && source.body !== 0) {
    const body = source.detach();
    if (body !== 0) {
      // What the transform would have done, without doing it.
      end.writer = source;
      const stream = readableOf(body);
      replace(stream);
      return stream;
    }
  }
  then(pipeTo(stream, writable, options), ignore, ignore);
  return readable;
}

export function pipeTo(stream, destination, options) {
  try {
    if (!isReadable(stream)) fail('ReadableStream.pipeTo', 'this is no ReadableStream');
    if (!isWritable(destination)) fail('ReadableStream.pipeTo', 'destination is no WritableStream');
    const settings = dictionary(options, 'ReadableStream.pipeTo', 'options');
    const { signal } = settings;
    if (signal !== undefined && !isSignal(signal)) fail('ReadableStream.pipeTo', 'options.signal is no AbortSignal');
    if (readableCore(stream).reader !== null) fail('ReadableStream.pipeTo', 'the stream is locked');
    if (writableCore(destination).writer !== null) fail('ReadableStream.pipeTo', 'destination is locked');
    const source = readableCore(stream);
    source.disturbed = true;
    return pump(stream.getReader(), source, destination.getWriter(), writableCore(destination), settings, signal);
  } catch (error) {
    return rejected(error);
  }
}

async function pump(reader, source, writer, sink, { preventClose, preventAbort, preventCancel }, signal) {
  let stopped = null;
  let wake = ignore;
  const woken = () => wake(undefined);
  /** Until this settles, or either end or the signal says that it is over. */
  const pause = (promise) =>
    new PromiseOf((resolve) => {
      wake = resolve;
      then(promise, resolve, resolve);
    });
  const forget = signal === undefined ? ignore : onAbort(signal, (reason) => {
    stopped = { reason };
    woken();
  });
  then(reader.closed, woken, woken);
  then(sink.closed.promise, woken, woken);
  let step = null;
  let written = resolved(undefined);
  const writes = () => (sink.state === 'writable' && !sink.closing ? then(written, ignore, ignore) : undefined);
  const arrived = (given) => {
    step = given;
  };
  try {
    // What called may still be at work on either end.
    await undefined;
    for (;;) {
      if (stopped === null && source.state === 'readable' && sink.state === 'writable' && sink.ready !== null) await pause(writer.ready);
      if (stopped !== null) {
        const { reason } = stopped;
        await writes();
        await PromiseOf.all([
          preventAbort ? undefined : writer.abort(reason),
          preventCancel ? undefined : reader.cancel(reason),
        ]);
        throw reason;
      }
      if (source.state === 'errored') {
        await writes();
        if (!preventAbort) await writer.abort(source.error);
        throw source.error;
      }
      if (sink.failing()) {
        if (!preventCancel) await reader.cancel(sink.error);
        throw sink.error;
      }
      if (source.state === 'closed') break;
      if (sink.closing || sink.state === 'closed') {
        const reason = new TypeError('ReadableStream.pipeTo: destination is closed');
        if (!preventCancel) await reader.cancel(reason);
        throw reason;
      }
      if (sink.ready !== null) continue;
      step = null;
      await pause(then(reader.read(), arrived, ignore));
      if (step === null || step.done) continue;
      written = writer.write(step.value);
    }
    await writes();
    if (!preventClose) await closed(writer, sink);
  } finally {
    forget();
    reader.releaseLock();
    writer.releaseLock();
  }
}

/** Closes what may be closed already. */
function closed(writer, sink) {
  if (sink.closing || sink.state === 'closed') return undefined;
  return writer.close();
}

class CountQueuingStrategy {
  #mark;
  constructor({ highWaterMark }) {
    this.#mark = Number(highWaterMark);
  }
  get highWaterMark() {
    return this.#mark;
  }
  get size() {
    return () => 1;
  }
}
class ByteLengthQueuingStrategy {
  #mark;
  constructor({ highWaterMark }) {
    this.#mark = Number(highWaterMark);
  }
  get highWaterMark() {
    return this.#mark;
  }
  get size() {
    return (chunk) => chunk.byteLength;
  }
}

export {
  TransformStream,
  Controller as TransformStreamDefaultController,
  IdentityTransformStream,
  FixedLengthStream,
  CountQueuingStrategy,
  ByteLengthQueuingStrategy,
};
