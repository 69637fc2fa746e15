// After WPT fetch/api/{basic,redirect,abort}, against the scripted origins of the harness.
import run, { equal, ok, rejects, test } from './harness.js';
export default run;

test('fetch answers', async () => {
  const r = await fetch('https://api.test/x#y');
  equal([r.status, r.statusText, r.url, r.type, await r.text()], [200, 'OK', 'https://api.test/x', 'basic', 'answer to GET https://api.test/x']);
});
test('a failure is a TypeError with the reason', () => rejects('TypeError', fetch('https://down.test/'), 'connection refused'));
test('fetch rejects, it does not throw', async () => {
  await rejects('TypeError', fetch(), 'needs 1');
  await rejects('TypeError', fetch('relative'), 'input');
});
test('redirects are followed', async () => {
  const r = await fetch('https://moved.test/302/https://api.test/next');
  equal([r.redirected, r.url, await r.text()], [true, 'https://api.test/next', 'answer to GET https://api.test/next']);
});
test('redirect manual and error', async () => {
  const r = await fetch('https://moved.test/301/https://api.test/', { redirect: 'manual' });
  equal([r.status, r.headers.get('location'), r.redirected], [301, 'https://api.test/', false]);
  await rejects('TypeError', fetch('https://moved.test/301/https://api.test/', { redirect: 'error' }), 'redirect');
});
test('a post becomes a get where the web says so', async () => {
  const after = async (status, method) => (await fetch(`https://moved.test/${status}/https://api.test/`, { method, body: 'x' })).text();
  equal(await after(302, 'POST'), 'answer to GET https://api.test/');
  equal(await after(303, 'PUT'), 'answer to GET https://api.test/');
  equal(await after(307, 'POST'), 'answer to POST https://api.test/');
  equal(await after(301, 'PUT'), 'answer to PUT https://api.test/');
});
test('a streamed body is not sent twice', () => {
  const body = new ReadableStream({ start: (c) => c.close() });
  return rejects('TypeError', fetch('https://moved.test/307/https://api.test/', { method: 'POST', body, duplex: 'half' }), 'stream');
});
test('redirects in a circle end', () => rejects('TypeError', fetch('https://moved.test/302/https://moved.test/302/'), 'redirect'));
test('a redirect to another scheme is refused', () => rejects('TypeError', fetch('https://moved.test/302/data:text'), 'http'));
test('an aborted fetch rejects with the reason', async () => {
  const controller = new AbortController();
  const pending = fetch('https://hangs.test/', { signal: controller.signal });
  controller.abort();
  await rejects('AbortError', pending);
  await rejects('AbortError', fetch('https://api.test/', { signal: AbortSignal.abort() }));
  await rejects('TimeoutError', fetch('https://hangs.test/', { signal: AbortSignal.timeout(1) }));
  const reason = new RangeError('mine');
  await rejects('RangeError', fetch('https://api.test/', { signal: AbortSignal.abort(reason) }), 'mine');
});
test('an abort reaches the body', async () => {
  const controller = new AbortController();
  const r = await fetch('https://chunks.test/', { signal: controller.signal });
  const reader = r.body.getReader();
  await reader.read();
  controller.abort();
  await rejects('AbortError', reader.read());
});
test('AbortSignal.any follows each', () => {
  const [a, b] = [new AbortController(), new AbortController()];
  const any = AbortSignal.any([a.signal, b.signal]);
  let told = 0;
  any.addEventListener('abort', () => told++);
  any.onabort = () => told++;
  b.abort('why');
  equal([any.aborted, any.reason, told], [true, 'why', 2]);
  ok(!a.signal.aborted);
});
test('signals that follow are all aborted before anyone is told, and told after their leader', () => {
  const leader = new AbortController();
  const any = AbortSignal.any([leader.signal]);
  const second = AbortSignal.any([any]);
  const told = [];
  second.addEventListener('abort', () => told.push('second'));
  any.addEventListener('abort', () => told.push('any'));
  leader.signal.addEventListener('abort', () => told.push(['leader', any.aborted, second.aborted]));
  leader.abort();
  equal(told, [['leader', true, true], 'any', 'second']);
  equal(AbortSignal.any([any]).reason === leader.signal.reason, true);
});
test('an abort reaches who reads all of a body, before and meanwhile', async () => {
  for (const method of ['text', 'json', 'arrayBuffer', 'bytes', 'blob', 'formData']) {
    const before = new AbortController();
    const r = await fetch('https://chunks.test/', { signal: before.signal });
    before.abort();
    await rejects('AbortError', r[method]());
  }
  const meanwhile = new AbortController();
  const r = await fetch('https://endless.test/', { signal: meanwhile.signal });
  const text = r.text();
  setTimeout(() => meanwhile.abort(new RangeError('mine')), 1);
  await rejects('RangeError', text, 'mine');
  await rejects('TimeoutError', (await fetch('https://endless.test/', { signal: AbortSignal.timeout(5) })).json());
});
test('an abort reaches both clones of a response', async () => {
  const controller = new AbortController();
  const r = await fetch('https://endless.test/', { signal: controller.signal });
  const copy = r.clone();
  const reading = copy.body.getReader().read();
  controller.abort();
  await rejects('AbortError', reading);
  await rejects('AbortError', r.body.getReader().read());
  const other = new AbortController();
  const whole = await fetch('https://endless.test/', { signal: other.signal });
  const second = whole.clone().text();
  const first = whole.text();
  setTimeout(() => other.abort(), 1);
  await rejects('AbortError', first);
  await rejects('AbortError', second);
});
