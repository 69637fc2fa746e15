// The state of a readable stream: what its source gave, and who waits for more.

import { then, promised } from 'outbound:native';
import { PromiseOf, shift } from 'outbound:primordials';

const { resolve: resolved, reject: rejected, outcome } = promised;
const ignore = () => {};

export class Core {
  state = 'readable';
  error = undefined;
  queue = [];
  requests = [];
  reader = null;
  disturbed = false;
  closing = false;
  total = 0;
  /** Number of a body in Rust; 0 where there is none, or where reading it has begun. */
  body = 0;
  /** What this is a branch of. */
  origin = null;
  highWater = 1;
  size = null;
  bytes = false;
  started = false;
  pulling = false;
  again = false;
  pull = ignore;
  cancelSource = ignore;

  desired() {
    if (this.state === 'errored') return null;
    return this.state === 'closed' ? 0 : this.highWater - this.total;
  }

  enqueue(chunk) {
    if (this.requests.length > 0) {
      shift(this.requests).resolve({ value: chunk, done: false });
    } else {
      const size = this.size === null ? (this.bytes ? chunk.byteLength : 1) : this.measure(chunk);
      // Measuring is the module's: it may have ended the stream.
      if (this.state !== 'readable') return;
      this.queue[this.queue.length] = { chunk, size };
      this.total += size;
    }
    this.more();
  }

  measure(chunk) {
    const { size: measure } = this;
    let size;
    try {
      size = Number(measure(chunk));
    } catch (error) {
      this.fail(error);
      throw error;
    }
    if (!(size >= 0) || size === Infinity) {
      const error = new RangeError('ReadableStream: strategy.size gave no finite size');
      this.fail(error);
      throw error;
    }
    return size;
  }

  /** No more chunks will come; those queued are still read. */
  close() {
    this.closing = true;
    if (this.queue.length === 0) this.finish();
  }

  finish() {
    if (this.state !== 'readable') return;
    this.state = 'closed';
    const { requests } = this;
    this.requests = [];
    for (let i = 0; i < requests.length; i++) requests[i].resolve({ value: undefined, done: true });
    if (this.reader !== null) this.reader.closed.resolve(undefined);
  }

  fail(error) {
    if (this.state !== 'readable') return;
    this.state = 'errored';
    this.error = error;
    this.queue = [];
    this.total = 0;
    const { requests } = this;
    this.requests = [];
    for (let i = 0; i < requests.length; i++) requests[i].reject(error);
    if (this.reader !== null) this.reader.closed.reject(error);
  }

  /** Asks the source, if it is wanted and not being asked. */
  more() {
    if (this.state !== 'readable' || this.closing || !this.started) return;
    if (this.requests.length === 0 && this.desired() <= 0) return;
    if (this.pulling) {
      this.again = true;
      return;
    }
    this.pulling = true;
    then(
      outcome(this.pull),
      () => {
        this.pulling = false;
        if (!this.again) return;
        this.again = false;
        this.more();
      },
      (error) => this.fail(error),
    );
  }

  read() {
    this.disturbed = true;
    if (this.queue.length > 0) {
      const { chunk, size } = shift(this.queue);
      this.total = this.queue.length === 0 ? 0 : this.total - size;
      if (this.closing && this.queue.length === 0) this.finish();
      else this.more();
      return resolved({ value: chunk, done: false });
    }
    if (this.state === 'closed') return resolved({ value: undefined, done: true });
    if (this.state === 'errored') return rejected(this.error);
    return new PromiseOf((resolve, reject) => {
      this.requests[this.requests.length] = { resolve, reject };
      this.more();
    });
  }

  cancel(reason) {
    this.disturbed = true;
    if (this.state === 'closed') return resolved(undefined);
    if (this.state === 'errored') return rejected(this.error);
    this.queue = [];
    this.total = 0;
    this.finish();
    const { cancelSource } = this;
    return then(outcome(() => cancelSource(reason)), ignore);
  }

  /** Fails, and has the source stop. */
  breakOff(reason) {
    if (this.origin !== null) this.origin.breakOff(reason);
    if (this.state !== 'readable') return;
    const { cancelSource } = this;
    this.fail(reason);
    then(outcome(() => cancelSource(reason)), ignore, ignore);
  }

  /** The number of the body in Rust that this stream still is, or 0; it is no longer one then. */
  detach() {
    const { body } = this;
    if (body === 0 || this.disturbed || this.reader !== null || this.state !== 'readable') return 0;
    this.disturbed = true;
    this.finish();
    return body;
  }
}
