// After WPT streams.
import run, { equal, ok, rejects, test, throws } from './harness.js';
export default run;

const all = async (stream) => {
  const found = [];
  for await (const chunk of stream) found.push(chunk);
  return found;
};

test('a stream gives what its source enqueues', async () => {
  const s = new ReadableStream({
    start(c) {
      c.enqueue(1);
      c.enqueue(2);
      c.close();
    },
  });
  equal(await all(s), [1, 2]);
  equal(s.locked, false);
});
test('pull is called as needed, and not while it runs', async () => {
  let pulls = 0;
  const s = new ReadableStream({ pull(c) { c.enqueue(++pulls); if (pulls === 3) c.close(); } }, { highWaterMark: 0 });
  await 0;
  equal(pulls, 0);
  equal(await all(s), [1, 2, 3]);
});
test('desiredSize counts', () => {
  let c;
  new ReadableStream({ start: (x) => (c = x) }, { highWaterMark: 3 });
  equal(c.desiredSize, 3);
  c.enqueue('a');
  equal(c.desiredSize, 2);
  c.close();
  equal(c.desiredSize, 2);
  throws('TypeError', () => c.enqueue('b'));
  throws('TypeError', () => c.close());
});
test('strategies measure', () => {
  let c;
  new ReadableStream({ start: (x) => (c = x) }, new ByteLengthQueuingStrategy({ highWaterMark: 10 }));
  c.enqueue(new Uint8Array(4));
  equal(c.desiredSize, 6);
  throws('RangeError', () => new ReadableStream({}, { highWaterMark: -1 }));
  throws('RangeError', () => new ReadableStream({}, { highWaterMark: NaN }));
});
test('errors reach readers', async () => {
  const boom = new Error('boom');
  const s = new ReadableStream({ start: (c) => c.error(boom) });
  await rejects('Error', s.getReader().read(), 'boom');
  await rejects('Error', all(new ReadableStream({ pull() { throw boom; } })), 'boom');
  throws('Error', () => new ReadableStream({ start() { throw boom; } }), 'boom');
});
test('readers lock, release and close', async () => {
  const s = new ReadableStream({ start: (c) => c.close() });
  const r = s.getReader();
  throws('TypeError', () => s.getReader(), 'locked');
  equal(await r.closed, undefined);
  r.releaseLock();
  await rejects('TypeError', r.read(), 'released');
  await rejects('TypeError', r.closed);
  equal((await s.getReader().read()).done, true);
});
test('release rejects what was asked for', async () => {
  const s = new ReadableStream();
  const r = s.getReader();
  const pending = r.read();
  r.releaseLock();
  await rejects('TypeError', pending);
});
test('cancel tells the source', async () => {
  let reason;
  const s = new ReadableStream({ cancel: (r) => { reason = r; } });
  await s.cancel('enough');
  equal([reason, (await s.getReader().read()).done], ['enough', true]);
  const locked = new ReadableStream();
  locked.getReader();
  await rejects('TypeError', locked.cancel(), 'locked');
});
test('leaving a loop cancels', async () => {
  let cancelled = false;
  const s = new ReadableStream({ pull: (c) => c.enqueue(1), cancel: () => { cancelled = true; } });
  for await (const chunk of s) break;
  equal([cancelled, s.locked], [true, false]);
});
test('tee gives both all', async () => {
  const [a, b] = ReadableStream.from(['x', 'y']).tee();
  equal([await all(a), await all(b)], [['x', 'y'], ['x', 'y']]);
  let reason;
  const [c, d] = new ReadableStream({ cancel: (r) => { reason = r; } }).tee();
  c.cancel(1);
  await d.cancel(2);
  equal(reason, [1, 2]);
});
test('from takes iterables', async () => {
  equal(await all(ReadableStream.from([1, 2])), [1, 2]);
  equal(await all(ReadableStream.from((async function* () { yield 1; })())), [1]);
  throws('TypeError', () => ReadableStream.from(5));
});
test('a byte stream checks and fills views', async () => {
  const s = new ReadableStream({ type: 'bytes', start(c) { c.enqueue(new Uint8Array([1, 2, 3])); c.close(); } });
  const r = s.getReader({ mode: 'byob' });
  equal((await r.read(new Uint8Array(2))).value, new Uint8Array([1, 2]));
  equal((await r.read(new Uint8Array(2))).value, new Uint8Array([3]));
  equal((await r.read(new Uint8Array(2))).done, true);
  throws('TypeError', () => new ReadableStream({ type: 'bytes', start: (c) => c.enqueue('x') }));
});
test('a writer writes in order, with back-pressure', async () => {
  const seen = [];
  let release;
  const s = new WritableStream({ write: (x) => { seen.push(x); return new Promise((r) => (release = r)); } });
  const w = s.getWriter();
  equal(w.desiredSize, 1);
  await w.ready;
  w.write('a');
  equal(w.desiredSize, 0);
  let ready = false;
  w.ready.then(() => (ready = true));
  const second = w.write('b');
  await 0;
  equal([seen, ready], [['a'], false]);
  release();
  for (let i = 0; i < 9; i++) await 0;
  release();
  await second;
  await w.ready;
  equal(seen, ['a', 'b']);
  w.close();
  await w.closed;
  await rejects('TypeError', w.write('c'));
});
test('a failing sink fails the stream', async () => {
  const s = new WritableStream({ write() { throw new RangeError('full'); } });
  const w = s.getWriter();
  await rejects('RangeError', w.write(1), 'full');
  await rejects('RangeError', w.write(2), 'full');
  await rejects('RangeError', w.closed, 'full');
});
test('abort reaches the sink and the signal', async () => {
  let reason, signal;
  const s = new WritableStream({ start: (c) => { signal = c.signal; }, abort: (r) => { reason = r; } });
  await s.abort('stop');
  equal([reason, signal.aborted, signal.reason], ['stop', true, 'stop']);
});
test('a transform transforms, flushes and ends', async () => {
  const t = new TransformStream({ transform: (x, c) => c.enqueue(x * 2), flush: (c) => c.enqueue('end') });
  equal(await all(ReadableStream.from([1, 2]).pipeThrough(t)), [2, 4, 'end']);
});
test('an identity transform passes all', async () => {
  equal(await all(ReadableStream.from(['a', 'b']).pipeThrough(new TransformStream())), ['a', 'b']);
  const t = new TransformStream();
  const w = t.writable.getWriter();
  w.write('x');
  w.close();
  equal(await all(t.readable), ['x']);
});
test('a throwing transform fails both ends', async () => {
  const t = new TransformStream({ transform() { throw new Error('bad'); } });
  const w = t.writable.getWriter();
  const r = t.readable.getReader();
  w.write(1).catch(() => {});
  await rejects('Error', r.read(), 'bad');
  await rejects('Error', w.closed, 'bad');
});
test('terminate closes the readable end', async () => {
  const t = new TransformStream({ transform(x, c) { c.enqueue(x); c.terminate(); } });
  equal(await all(ReadableStream.from([1, 2, 3]).pipeThrough(t)), [1]);
});
test('pipeTo copies, closes, and can leave open', async () => {
  const seen = [];
  let closed = false;
  const sink = new WritableStream({ write: (x) => { seen.push(x); }, close: () => { closed = true; } });
  await ReadableStream.from([1]).pipeTo(sink, { preventClose: true });
  equal([seen, closed, sink.locked], [[1], false, false]);
  await ReadableStream.from([2]).pipeTo(sink);
  equal([seen, closed], [[1, 2], true]);
});
test('pipeTo passes errors both ways', async () => {
  let aborted;
  const sink = new WritableStream({ abort: (r) => { aborted = r; } });
  await rejects('Error', new ReadableStream({ start: (c) => c.error(new Error('src')) }).pipeTo(sink), 'src');
  equal(aborted.message, 'src');
  let cancelled;
  const source = new ReadableStream({ pull: (c) => c.enqueue(1), cancel: (r) => { cancelled = r; } });
  await rejects('Error', source.pipeTo(new WritableStream({ write() { throw new Error('dst'); } })), 'dst');
  equal(cancelled.message, 'dst');
});
test('a signal stops a pipe', async () => {
  const controller = new AbortController();
  const pipe = new ReadableStream().pipeTo(new WritableStream(), { signal: controller.signal });
  controller.abort();
  await rejects('AbortError', pipe);
});
test('text streams keep split characters together', async () => {
  const bytes = [new Uint8Array([0xe2, 0x82]), new Uint8Array([0xac, 97])];
  equal((await all(ReadableStream.from(bytes).pipeThrough(new TextDecoderStream()))).join(''), '€a');
  const coded = await all(ReadableStream.from(['\ud83d', '\ude00']).pipeThrough(new TextEncoderStream()));
  equal(coded.flatMap((c) => [...c]), [0xf0, 0x9f, 0x98, 0x80]);
});
test('an identity transform of a received body is that body', async () => {
  const r = await fetch('https://chunks.test/');
  const t = new TransformStream();
  const out = r.body.pipeThrough(t);
  ok(r.bodyUsed);
  ok(t.readable === out);
  equal(await new Response(out).text(), 'abc');
});
test('the signal of a stream that was aborted before is aborted', async () => {
  let controller;
  const s = new WritableStream({ start: (c) => { controller = c; } });
  await s.abort('early');
  equal([controller.signal.aborted, controller.signal.reason], [true, 'early']);
});
test('a sink is told of an abort after what it is at', async () => {
  const seen = [];
  const written = Promise.withResolvers();
  const s = new WritableStream({ write: () => written.promise, abort: (reason) => seen.push(reason), close: () => seen.push('close') });
  const w = s.getWriter();
  await w.ready;
  const first = w.write('a');
  const second = w.write('b');
  await 0;
  const aborted = w.abort('why');
  await 0;
  equal([seen, w.desiredSize], [[], null]);
  written.resolve();
  equal([await first, await aborted, seen], [undefined, undefined, ['why']]);
  equal([await second.catch((e) => e), await w.closed.catch((e) => e)], ['why', 'why']);
});
test('a close that is under way outlasts an abort', async () => {
  const closing = Promise.withResolvers();
  const w = new WritableStream({ close: () => closing.promise, abort() { throw new Error('not wanted'); } }).getWriter();
  await w.ready;
  const closed = w.close();
  await 0;
  const aborted = w.abort('why');
  closing.resolve();
  equal([await closed, await aborted, await w.closed], [undefined, undefined, undefined]);
});
test('a chunk without a size fails a writable', async () => {
  for (const size of [() => NaN, () => -1, () => Infinity]) {
    const w = new WritableStream({}, { size }).getWriter();
    await rejects('RangeError', w.write('a'), 'strategy.size');
    await rejects('RangeError', w.closed);
  }
});
test('pipeTo sees the end of a source that its destination has no room for', async () => {
  let c;
  const source = new ReadableStream({ start: (x) => (c = x) });
  const full = () => new WritableStream({}, { highWaterMark: 0 });
  const piped = source.pipeTo(full());
  await 0;
  c.close();
  equal(await piped, undefined);
  const failing = new ReadableStream({ start: (x) => (c = x) }).pipeTo(full());
  await 0;
  c.error(new RangeError('mine'));
  await rejects('RangeError', failing, 'mine');
});
test('pipeTo ends after its last write', async () => {
  let done = false;
  const slow = new WritableStream({ write: () => new Promise((resolve) => setTimeout(() => resolve((done = true)), 2)) });
  await ReadableStream.from(['a']).pipeTo(slow, { preventClose: true });
  equal([done, slow.locked], [true, false]);
});
test('a pipe uses a body at once', () => {
  const r = new Response('x');
  r.body.pipeThrough(new TransformStream({}, { highWaterMark: 0 }));
  ok(r.bodyUsed);
});
test('a transform ends once', async () => {
  const seen = [];
  const t = new TransformStream({ cancel: (reason) => { seen.push(reason); }, flush: () => { seen.push('flush'); } });
  await t.readable.cancel('why');
  await t.writable.abort('late');
  equal(seen, ['why']);
  throws('RangeError', () => new TransformStream({ start() { throw new RangeError('mine'); } }), 'mine');
  const ended = new TransformStream({ flush: (c) => c.terminate() }).writable.getWriter();
  equal(await ended.close(), undefined);
});
test('a failing size fails both ends of a transform', async () => {
  const t = new TransformStream({}, undefined, { size() { throw new RangeError('mine'); }, highWaterMark: 9 });
  await rejects('RangeError', t.writable.getWriter().write('a'), 'mine');
  await rejects('RangeError', t.readable.getReader().read(), 'mine');
});
