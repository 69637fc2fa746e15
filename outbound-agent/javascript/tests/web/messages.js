// After WPT fetch/api/{request,response,body}.
import run, { equal, ok, rejects, test, throws } from './harness.js';
export default run;

test('a request takes url, method, headers', () => {
  const r = new Request('https://A.test/x/../y#z', { method: 'post', headers: { a: 'b' }, body: 'x' });
  equal([r.url, r.method, r.headers.get('a'), r.headers.get('content-type')], ['https://a.test/y#z', 'POST', 'b', 'text/plain;charset=UTF-8']);
  equal([r.redirect, r.bodyUsed, r.signal.aborted], ['follow', false, false]);
});
test('a request is refused with API and argument named', () => {
  throws('TypeError', () => new Request(), 'Request: needs 1 argument');
  throws('TypeError', () => new Request('/x'), 'Request: input');
  throws('TypeError', () => new Request('https://u:p@a.test/'), 'credentials');
  throws('TypeError', () => new Request('https://a.test/', { method: 'a b' }), 'init.method');
  throws('TypeError', () => new Request('https://a.test/', { method: 'TRACE' }), 'init.method');
  throws('TypeError', () => new Request('https://a.test/', { body: 'x' }), 'GET request has no body');
  throws('TypeError', () => new Request('https://a.test/', { redirect: 'x' }), 'init.redirect');
  throws('TypeError', () => new Request('https://a.test/', { signal: {} }), 'init.signal');
  throws('TypeError', () => new Request('https://a.test/', 5), 'init');
});
test('methods are normalised as the web does it', () => {
  const method = (m) => new Request('https://a.test/', { method: m }).method;
  equal([method('get'), method('pOsT'), method('patch')], ['GET', 'POST', 'patch']);
});
test('a request of a request takes its body along', async () => {
  const a = new Request('https://a.test/', { method: 'POST', body: 'hello' });
  const b = new Request(a, { headers: { x: '1' } });
  equal([a.bodyUsed, b.bodyUsed, b.method], [true, false, 'POST']);
  equal(await b.text(), 'hello');
  await rejects('TypeError', a.text(), 'Request.text: the body was used');
  throws('TypeError', () => new Request(a), 'used');
});
test('clone gives two independent bodies', async () => {
  const a = new Request('https://a.test/', { method: 'POST', body: 'hello' });
  const b = a.clone();
  equal([await a.text(), await b.text()], ['hello', 'hello']);
  throws('TypeError', () => a.clone(), 'Request.clone');
});
test('a response has defaults', async () => {
  const r = new Response();
  equal([r.status, r.statusText, r.ok, r.body, r.type, r.url, r.redirected], [200, '', true, null, 'default', '', false]);
  equal(await r.text(), '');
  equal(r.bodyUsed, false);
});
test('a response is checked', () => {
  throws('RangeError', () => new Response('', { status: 199 }), 'init.status');
  throws('RangeError', () => new Response('', { status: 600 }));
  throws('TypeError', () => new Response('x', { status: 204 }), 'no body');
  throws('TypeError', () => new Response('', { statusText: '\n' }), 'statusText');
});
test('static makers', async () => {
  const j = Response.json({ a: 1 }, { status: 201 });
  equal([j.status, j.headers.get('content-type'), await j.json()], [201, 'application/json', { a: 1 }]);
  throws('TypeError', () => Response.json(undefined));
  const r = Response.redirect('https://a.test/x', 307);
  equal([r.status, r.headers.get('location')], [307, 'https://a.test/x']);
  throws('RangeError', () => Response.redirect('https://a.test/', 200));
  throws('TypeError', () => Response.redirect('/x'));
  equal([Response.error().status, Response.error().type], [0, 'error']);
});
test('bodies of every kind', async () => {
  equal(await new Response('héé').text(), 'héé');
  equal(await new Response(new Uint8Array([104, 105])).text(), 'hi');
  equal(await new Response(new Uint8Array([1, 104, 105]).subarray(1)).text(), 'hi');
  equal(await new Response(new ArrayBuffer(2)).bytes(), new Uint8Array(2));
  equal(await new Response(new Blob(['a', 'b'], { type: 'x/Y' })).text(), 'ab');
  equal(new Response(new Blob(['a'], { type: 'x/Y' })).headers.get('content-type'), 'x/y');
  const p = new Response(new URLSearchParams({ a: '1 2' }));
  equal([p.headers.get('content-type'), await p.text()], ['application/x-www-form-urlencoded;charset=UTF-8', 'a=1+2']);
  equal(await new Response(5).text(), '5');
  equal((await new Response('x').arrayBuffer()).byteLength, 1);
  const b = await new Response('x', { headers: { 'content-type': 'a/b' } }).blob();
  equal([b.type, b.size], ['a/b', 1]);
});
test('text takes away a byte order mark and repairs', async () => {
  equal(await new Response(new Uint8Array([0xef, 0xbb, 0xbf, 97, 0xff])).text(), 'a\ufffd');
});
test('a body can be read once', async () => {
  const r = new Response('x');
  await r.text();
  ok(r.bodyUsed);
  await rejects('TypeError', r.text(), 'Response.text');
  await rejects('TypeError', r.json());
});
test('a locked body is refused', async () => {
  const r = new Response('x');
  const reader = r.body.getReader();
  await rejects('TypeError', r.text(), 'locked');
  throws('TypeError', () => r.clone());
  reader.releaseLock();
  equal(await r.text(), 'x');
});
test('bad JSON is a SyntaxError', () => rejects('SyntaxError', new Response('{').json()));
test('body is the same stream each time', () => {
  const r = new Response('x');
  ok(r.body === r.body && r.body instanceof ReadableStream);
});
test('a form goes over the wire and back', async () => {
  const form = new FormData();
  form.append('a', '1');
  form.append('a', 'zwei "2"');
  form.append('f', new File(['content'], 'n.txt', { type: 'text/x' }));
  const back = await new Response(form).formData();
  equal(back.getAll('a'), ['1', 'zwei "2"']);
  equal([back.get('f').name, back.get('f').type, await back.get('f').text()], ['n.txt', 'text/x', 'content']);
  const simple = await new Response(new URLSearchParams('x=1&y=2')).formData();
  equal([...simple], [['x', '1'], ['y', '2']]);
  await rejects('TypeError', new Response('x').formData(), 'content-type');
});
test('a received body stays as it is when wrapped', async () => {
  const r = await fetch('https://chunks.test/');
  const wrapped = new Response(r.body, r);
  equal([wrapped.status, await wrapped.text(), r.bodyUsed], [200, 'abc', true]);
});
test('a received body can be cloned and streamed', async () => {
  const r = await fetch('https://chunks.test/');
  const copy = r.clone();
  let text = '';
  for await (const chunk of r.body.pipeThrough(new TextDecoderStream())) text += chunk;
  equal([text, await copy.text()], ['abc', 'abc']);
});
test('a body that is cut rejects, however it is read', async () => {
  const read = async (r) => {
    for await (const chunk of r.body);
  };
  await rejects('TypeError', read(await fetch('https://cut.test/')), 'reset by peer');
  await rejects('TypeError', (await fetch('https://cut.test/')).arrayBuffer(), 'reset by peer');
});
test('a stream that fails says why to who reads the body', async () => {
  for (const method of ['text', 'json', 'arrayBuffer', 'bytes', 'blob', 'formData']) {
    const body = () => new ReadableStream({ pull() { throw new RangeError('mine'); } });
    await rejects('RangeError', new Response(body())[method](), 'mine');
    await rejects('RangeError', new Request('https://a.test/', { method: 'POST', body: body(), duplex: 'half' })[method](), 'mine');
  }
});
test('the stream of a body that was read is locked', async () => {
  for (const r of [new Response('x'), await fetch('https://chunks.test/')]) {
    const text = r.text();
    ok(r.body.locked);
    throws('TypeError', () => r.body.getReader(), 'locked');
    await text;
  }
});
test('clones share no chunk', async () => {
  const chunk = new Uint16Array([1, 2]);
  const r = new Response(new ReadableStream({ start: (c) => c.enqueue(chunk) }));
  const copy = (await r.clone().body.getReader().read()).value;
  ok(copy instanceof Uint16Array && copy.buffer !== chunk.buffer && (await r.body.getReader().read()).value === chunk);
  const odd = new Response(new ReadableStream({ start: (c) => c.enqueue(() => {}) }));
  await rejects('DataCloneError', odd.clone().body.getReader().read());
});
