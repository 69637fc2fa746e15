// After WPT url, encoding, html/webappapis, WebCryptoAPI, FileAPI.
import run, { equal, ok, rejects, test, throws } from './harness.js';
export default run;

test('URL parts and setters', () => {
  const u = new URL('https://u:p@EXAMPLE.com:8080/a/../b?x=1#h');
  equal([u.href, u.origin, u.protocol, u.username, u.password, u.host, u.hostname, u.port, u.pathname, u.search, u.hash],
    ['https://u:p@example.com:8080/b?x=1#h', 'https://example.com:8080', 'https:', 'u', 'p', 'example.com:8080', 'example.com', '8080', '/b', '?x=1', '#h']);
  u.port = '443';
  u.hash = '';
  u.pathname = 'c d';
  equal(u.href, 'https://u:p@example.com/c%20d?x=1');
  u.host = 'x.test:99';
  equal([u.hostname, u.port], ['x.test', '99']);
  throws('TypeError', () => new URL('x'), 'URL: url "x"');
  throws('TypeError', () => new URL('x', 'y'), 'base');
  throws('TypeError', () => { u.href = 'nope'; }, 'URL.href');
  equal([URL.canParse('a:b'), URL.canParse('/x'), URL.parse('x'), new URL('../x', 'https://a.test/b/c/').href], [true, false, null, 'https://a.test/b/x']);
  equal(JSON.stringify({ u: new URL('https://a.test') }), '{"u":"https://a.test/"}');
});
test('search parameters are tied to their URL', () => {
  const u = new URL('https://a.test/?a=1&b=2&a=3');
  equal([u.searchParams.getAll('a'), u.searchParams.size], [['1', '3'], 3]);
  u.searchParams.set('a', 'x y');
  equal(u.search, '?a=x+y&b=2');
  u.search = '?z=%20';
  equal([...u.searchParams], [['z', ' ']]);
  u.searchParams.delete('z');
  equal(u.href, 'https://a.test/');
});
test('search parameters of every kind', () => {
  equal(`${new URLSearchParams('?a=1&b')}`, 'a=1&b=');
  equal(`${new URLSearchParams({ a: '1', b: 'ü' })}`, 'a=1&b=%C3%BC');
  equal(`${new URLSearchParams([['b', '1'], ['a', '2']])}`, 'b=1&a=2');
  const p = new URLSearchParams('b=1&a=2&b=0');
  p.sort();
  equal([`${p}`, p.has('a'), p.has('a', '3'), p.get('c')], ['a=2&b=1&b=0', true, false, null]);
});
test('text encoder and decoder', () => {
  equal(new TextEncoder().encode('€\ud800'), new Uint8Array([0xe2, 0x82, 0xac, 0xef, 0xbf, 0xbd]));
  const target = new Uint8Array(4);
  equal(new TextEncoder().encodeInto('a€b', target), { read: 2, written: 4 });
  equal(new TextDecoder().decode(new Uint8Array([0xef, 0xbb, 0xbf, 97])), 'a');
  equal(new TextDecoder('utf-8', { ignoreBOM: true }).decode(new Uint8Array([0xef, 0xbb, 0xbf, 97])), '\ufeffa');
  equal(new TextDecoder().decode(new Uint8Array([0xff])), '\ufffd');
  throws('TypeError', () => new TextDecoder('utf8', { fatal: true }).decode(new Uint8Array([0xff])));
  throws('RangeError', () => new TextDecoder('klingon'), 'label');
  equal(new TextDecoder('latin1').decode(new Uint8Array([0x80, 0xe9])), '€é');
  const d = new TextDecoder();
  equal(d.decode(new Uint8Array([0xf0, 0x9f]), { stream: true }) + d.decode(new Uint8Array([0x98, 0x80])), '😀');
});
test('base64', () => {
  equal([btoa('\xff\x00a'), atob(' /wBh '), btoa(''), atob('YQ')], ['/wBh', '\xff\x00a', '', 'a']);
  throws('InvalidCharacterError', () => btoa('€'), 'btoa');
  throws('InvalidCharacterError', () => atob('a'), 'atob');
});
test('structuredClone', () => {
  const date = new Date(5);
  const value = { a: [1, , 3], d: date, m: new Map([[1, { x: 2 }]]), s: new Set([1]), r: /x/gi, b: new Uint8Array([1, 2]), n: null, u: undefined, e: new RangeError('x') };
  value.self = value;
  const copy = structuredClone(value);
  ok(copy.self === copy && copy !== value && copy.d !== date && copy.d.getTime() === 5);
  equal([copy.m.get(1), [...copy.s], String(copy.r), copy.b, copy.e.name, 1 in copy.a], [{ x: 2 }, [1], '/x/gi', new Uint8Array([1, 2]), 'RangeError', false]);
  throws('DataCloneError', () => structuredClone(() => 1));
  throws('DataCloneError', () => structuredClone(Symbol('x')));
  const buffer = new ArrayBuffer(8);
  equal([structuredClone(buffer, { transfer: [buffer] }).byteLength, buffer.byteLength], [8, 0]);
});
test('timers run in order, and can be cleared', async () => {
  const seen = [];
  await new Promise((resolve) => {
    setTimeout((x) => { seen.push(x); resolve(); }, 500, 'late');
    setTimeout(() => seen.push('soon'), 0);
    clearTimeout(setTimeout(() => seen.push('never'), 1));
    clearTimeout(null);
    queueMicrotask(() => seen.push('micro'));
  });
  equal(seen, ['micro', 'soon', 'late']);
  let count = 0;
  await new Promise((resolve) => {
    const timer = setInterval(() => { if (++count === 3) { clearInterval(timer); resolve(); } }, 1);
  });
  equal(count, 3);
  throws('TypeError', () => setTimeout('code'), 'callback');
});
test('timers that are late run in the order they were due', async () => {
  const seen = [];
  const done = new Promise((resolve) => setTimeout(() => { seen.push(4); resolve(); }, 4));
  for (const delay of [3, 1, 2, 0]) setTimeout(() => seen.push(delay), delay);
  setTimeout(() => { throw new Error('told to the operator'); }, 1);
  for (const start = performance.now(); performance.now() - start < 10; );
  await done;
  equal(seen, [0, 1, 2, 3, 4]);
});
test('performance counts up', () => ok(performance.now() >= 0 && performance.timeOrigin > 1e12));
test('events are dispatched', () => {
  const target = new EventTarget();
  const seen = [];
  target.addEventListener('x', (e) => seen.push(e.type), { once: true });
  target.addEventListener('x', { handleEvent: (e) => { seen.push(e.detail); e.preventDefault(); } });
  equal(target.dispatchEvent(new CustomEvent('x', { detail: 7, cancelable: true })), false);
  target.dispatchEvent(new CustomEvent('x', { detail: 8 }));
  equal(seen, ['x', 7, 8]);
});
test('blobs', async () => {
  const b = new Blob(['ab', new Uint8Array([99]), new Blob(['d'])], { type: 'Text/Plain' });
  equal([b.size, b.type, await b.text(), await b.slice(1, 3).text()], [4, 'text/plain', 'abcd', 'bc']);
  equal(await new Response(b.stream()).text(), 'abcd');
  const f = new File(['x'], 'n', { lastModified: 3 });
  equal([f.name, f.lastModified, f instanceof Blob], ['n', 3, true]);
});
const hex = (buffer) => new Uint8Array(buffer).toHex();
const utf8 = (text) => new TextEncoder().encode(text);
test('the text of a blob has no byte order mark', async () => {
  equal(await new Blob([new Uint8Array([0xef, 0xbb, 0xbf, 97])]).text(), 'a');
});
test('a form keeps a date, and may change while it is gone through', () => {
  const form = new FormData();
  form.set('f', new File(['x'], 'a.txt', { lastModified: 5 }), 'b.txt');
  equal([form.get('f').name, form.get('f').lastModified], ['b.txt', 5]);
  for (const name of ['a', 'b', 'c']) form.append(name, '1');
  const seen = [];
  for (const [name] of form) {
    seen.push(name);
    form.delete('b');
  }
  equal(seen, ['f', 'a', 'c']);
});
test('digests', async () => {
  equal(hex(await crypto.subtle.digest('SHA-256', utf8('abc'))), 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  equal(hex(await crypto.subtle.digest({ name: 'sha-1' }, utf8('abc'))), 'a9993e364706816aba3e25717850c26c9cd0d89d');
  await rejects('NotSupportedError', crypto.subtle.digest('MD5', utf8('')), 'SubtleCrypto.digest: algorithm');
});
test('HMAC (RFC 4231, case 2)', async () => {
  const key = await crypto.subtle.importKey('raw', utf8('Jefe'), { name: 'HMAC', hash: 'SHA-256' }, true, ['sign', 'verify']);
  const data = utf8('what do ya want for nothing?');
  const mac = await crypto.subtle.sign('HMAC', key, data);
  equal(hex(mac), '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843');
  equal([await crypto.subtle.verify('HMAC', key, mac, data), await crypto.subtle.verify('HMAC', key, mac, utf8('x'))], [true, false]);
  equal([key.type, key.algorithm, key.usages], ['secret', { name: 'HMAC', hash: { name: 'SHA-256' }, length: 32 }, ['sign', 'verify']]);
  const jwk = await crypto.subtle.exportKey('jwk', key);
  equal([jwk.kty, jwk.k, jwk.alg], ['oct', 'SmVmZQ', 'HS256']);
  const back = await crypto.subtle.importKey('jwk', jwk, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
  equal(hex(await crypto.subtle.sign('HMAC', back, data)), hex(mac));
  await rejects('InvalidAccessError', crypto.subtle.verify('HMAC', back, mac, data), 'may not be used to verify');
  await rejects('InvalidAccessError', crypto.subtle.exportKey('raw', back));
});
test('Ed25519 (RFC 8032, test 2)', async () => {
  const x = 'PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw';
  const d = 'TM0Imyj_ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U-4pvs';
  const priv = await crypto.subtle.importKey('jwk', { kty: 'OKP', crv: 'Ed25519', x, d }, 'Ed25519', false, ['sign']);
  const pub = await crypto.subtle.importKey('jwk', { kty: 'OKP', crv: 'Ed25519', x }, 'Ed25519', true, ['verify']);
  const data = new Uint8Array([0x72]);
  const signature = await crypto.subtle.sign('Ed25519', priv, data);
  equal(hex(signature).slice(0, 16), '92a009a9f0d4cab8');
  equal([await crypto.subtle.verify('Ed25519', pub, signature, data), priv.type, pub.type], [true, 'private', 'public']);
});
// Keys made with openssl for these cases and used for nothing else.
const octets = (text) => Uint8Array.fromBase64(text);
const hello = utf8('hello');
test('ECDSA signs and verifies with pkcs8, spki and raw', async () => {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256' };
  const use = { name: 'ECDSA', hash: 'SHA-256' };
  const priv = await crypto.subtle.importKey('pkcs8', octets('MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg+RhZ6Nen8C1GGhj5UBQD6C2vLnUFjVU8l87KHr74LF+hRANCAAQDtDFQx9b1xQrWd6sxbp3Z0merlsGjq/Kt1aYmQSlt1OrK2W7XDzwtANT7CSqX5JVBlvpjQ6rT1Nfkxg1ry/uQ'), algorithm, false, ['sign']);
  const spki = octets('MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEA7QxUMfW9cUK1nerMW6d2dJnq5bBo6vyrdWmJkEpbdTqytlu1w88LQDU+wkql+SVQZb6Y0Oq09TX5MYNa8v7kA==');
  const pub = await crypto.subtle.importKey('spki', spki, algorithm, true, ['verify']);
  const raw = await crypto.subtle.importKey('raw', spki.slice(-65), algorithm, true, ['verify']);
  const signature = await crypto.subtle.sign(use, priv, hello);
  equal([signature.byteLength, priv.algorithm.namedCurve], [64, 'P-256']);
  equal([await crypto.subtle.verify(use, pub, signature, hello), await crypto.subtle.verify(use, raw, signature, hello), await crypto.subtle.verify(use, raw, signature, spki)], [true, true, false]);
  const x = spki.slice(-64, -32).toBase64({ alphabet: 'base64url', omitPadding: true });
  const y = spki.slice(-32).toBase64({ alphabet: 'base64url', omitPadding: true });
  const jwk = await crypto.subtle.importKey('jwk', { kty: 'EC', crv: 'P-256', x, y }, algorithm, true, ['verify']);
  ok(await crypto.subtle.verify(use, jwk, signature, hello));
  await rejects('NotSupportedError', crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-512' }, priv, hello), 'algorithm.hash');
  await rejects('InvalidAccessError', crypto.subtle.sign('Ed25519', priv, hello), 'key is for ECDSA');
  await rejects('DataError', crypto.subtle.importKey('jwk', { kty: 'EC', crv: 'P-256', x: y, y: x, d: x }, algorithm, false, ['sign']), 'keyData');
});
test('RSASSA-PKCS1-v1_5 signs as openssl does', async () => {
  const algorithm = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
  const priv = await crypto.subtle.importKey('pkcs8', octets('MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQDM0lyDsTZnGMULbdcIs9+elBfkZARBwRF6W+siwhH0vryLnp7uVqmwZBPVzrOF2jT4kPcRt6J9VnA28yo7+FYh9FfG88bcf5FRmtW46uq8ban0no+nWxmfQfSARKu2FSYNwm6Z2cVCYt+ESUMlrpG43vRx0LzahTv41lOjjrftmrlBWcFjnKJ9H5w09Dg8P2oBywmxqlGru/n7bvAJwrnLxZvQxxRl59Ubi76zJkktRHjG6lTtsgNOBhcHUdbg9Y6Hm/y2UAhREEJInvvpiwjZ3rHPkoiCnY0pkZ+/8Eq6m9h9wtbwpD/b2rZnI6hxYkc3mXbShW3ScVm7gZkrJmiRAgMBAAECggEALOVxlQZby/aAfrRZfdVbz5lbsVsBGd61s5IBdTGAGRtUHfCrmsfRU1JkjKnN7Sm7Eb9JAQ+1JO81Er5zhAi37KJwOTKHZR7rXi1n6qxHvvz006OMDp2n/KJK83DaCMQS/tIfR0cWd6pPn2Ilv1VIKPNqNqaQNwAceLuWQtROWdz7kVeeWaUmSi7f7WxvSdT9iJO0NKylSYeVrqby5muEaY3SB33cAUGJUejy7H2zkizA+OcHDWbN9gQXgutzoGJBL1X6NtU/PV28KdvSva+sXQnupftanyRc1fCJLWME2R7engVYhE9AIb6uVbjVt7mCbJ1gr0skzz28dES3UU8OxwKBgQDrLyKN64IDdSuCEz6NKV1ZU6UZvZHvl3zN5CVznB2IVfNSIZXuTq6VKwfuwxH7IzwPTzicbdEtUXkCPiWEcAykx4kD3dXyw3NcF1iB/2AVf6qA93dW5WKj7trcY8isxj5qIyJBMmUs47by0m2Dz93SkleDoLefdrWzJrO/0OBspwKBgQDe80Rd8IadS+r53MYKn1SFAJBLNJTObKgKvFjK+7hxOsKfRUBSrzRtj5WlBK1z78cLOuiZgs/xzG9UVVvJOfHXBPTNFPgb+bZa7sdH5HnFCH3iT5VjDqGH2A/j3/OTuR3ut4IceyE1QYcaUJuHf3MT+eZEaIZV0pzRW/ZxSh8QBwKBgQCeyJEEzmdWHEqGpKWLusy6nX2PdmzMHTP28jzS5CkQPi9sWR6X6Wl3brkJW4yNSQmosGzhOEeM2D/h4sGDu/7dVZZNFP34zDrbhyuLgTaG7U3Zirp44aAKXB5Jw9jdxW6oTBY5fGPQveFr6eRkpPf3zjPlu6GduREN5mhfbg/HawKBgQCJEN/wLOZln/3XHS636xqIJj+PrMTrX4u0BfVE3ZqYKjrqtiWEb+h4jvS+HfERPNGPCuljLzPugPPU0iF6xd/zhD2IM6MRd+TvZKspfMKMKttRngHGg4E1RdUHEHDsWbuYPkOEhQJ2flG0EOh9VhKGrnUti2FDNBdq8vHA1oPgUwKBgEUVmts1DpMm1YDdFWspd7bJD/CXrIct/j1Gp6xtSlTemyx23A8y4q7ippG1rONQacSeqXSVfUG95hWmxGxF9jfhh5g9OpbSNgUtF4QSIBGNtiSkORLkab8DrmUIPADK91JgOGeQc4ZGVlqB2qTlWcgddhUD20ZaS+s2k2gBzxO7'), algorithm, false, ['sign']);
  const pub = await crypto.subtle.importKey('spki', octets('MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAzNJcg7E2ZxjFC23XCLPfnpQX5GQEQcERelvrIsIR9L68i56e7lapsGQT1c6zhdo0+JD3EbeifVZwNvMqO/hWIfRXxvPG3H+RUZrVuOrqvG2p9J6Pp1sZn0H0gESrthUmDcJumdnFQmLfhElDJa6RuN70cdC82oU7+NZTo4637Zq5QVnBY5yifR+cNPQ4PD9qAcsJsapRq7v5+27wCcK5y8Wb0McUZefVG4u+syZJLUR4xupU7bIDTgYXB1HW4PWOh5v8tlAIURBCSJ776YsI2d6xz5KIgp2NKZGfv/BKupvYfcLW8KQ/29q2ZyOocWJHN5l20oVt0nFZu4GZKyZokQIDAQAB'), algorithm, true, ['verify']);
  const signature = new Uint8Array(await crypto.subtle.sign('RSASSA-PKCS1-v1_5', priv, hello));
  equal(signature.toBase64(), 'jlbiTcuLyfENim9D2Vn2E1p51281g6U27XLdJX77zeNeTkteREq+kF+KzK8DZkDCXWo5/mxwlFa2n+3uteu6NHBsGga0jp88K1t4DM/o2o9QVCyg/aywvThDk/PQIGsTC3zzIFdwiUa1pWWNbD5/VDNJxzRw5wBbvAoy9GhAHjnrnhk9LN4Nle4Zfog8uQlPq/Z8kIxvL6E07Q6uKvJs+excSWQ1Hrc/seGtnbOUZJct9A1oHYC/xOuKJYN3d0BO2af5L/X7LaMNdr+p/Z9XiuIG4L0p3AUFAEMbgbLl9zDJnFRXTX8K26EW1nqB2SmmjbYZZmIN/MGjLx6mdFZo/Q==');
  equal([priv.algorithm.modulusLength, pub.algorithm.modulusLength], [2048, 2048]);
  ok(await crypto.subtle.verify('RSASSA-PKCS1-v1_5', pub, signature, hello));
  signature[0] ^= 1;
  ok(!(await crypto.subtle.verify('RSASSA-PKCS1-v1_5', pub, signature, hello)));
});
test('Ed25519 takes pkcs8 and spki', async () => {
  const priv = await crypto.subtle.importKey('pkcs8', octets('MC4CAQAwBQYDK2VwBCIEIGKGXRaJyaaSKOIPpghlmTw8TIgVdDc9pz1dIA+uOjkY'), 'Ed25519', false, ['sign']);
  const pub = await crypto.subtle.importKey('spki', octets('MCowBQYDK2VwAyEAbnVUbwRve6PWsOSaC5EeHXGYk4gXgq5uAOF0sdaEhGk='), { name: 'Ed25519' }, true, ['verify']);
  ok(await crypto.subtle.verify('Ed25519', pub, await crypto.subtle.sign('Ed25519', priv, hello), hello));
});
test('importKey refuses with the argument named', async () => {
  const hmac = { name: 'HMAC', hash: 'SHA-256' };
  await rejects('TypeError', crypto.subtle.importKey('pem', utf8('x'), hmac, false, ['sign']), 'format');
  await rejects('NotSupportedError', crypto.subtle.importKey('raw', utf8('x'), 'AES-GCM', false, ['sign']), 'algorithm');
  await rejects('SyntaxError', crypto.subtle.importKey('raw', utf8('x'), hmac, false, []), 'keyUsages');
  await rejects('SyntaxError', crypto.subtle.importKey('raw', utf8('x'), hmac, false, ['encrypt']), 'keyUsages');
  await rejects('DataError', crypto.subtle.importKey('pkcs8', utf8('x'), { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign']), 'keyData');
});
test('randomness', () => {
  ok(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(crypto.randomUUID()));
  ok(crypto.randomUUID() !== crypto.randomUUID());
  const a = crypto.getRandomValues(new Uint32Array(8));
  ok(a.some((x) => x !== 0));
  throws('QuotaExceededError', () => crypto.getRandomValues(new Uint8Array(65537)));
  throws('TypeMismatchError', () => crypto.getRandomValues(new Float64Array(1)));
});
test('no code is made of text', async () => {
  const indirect = globalThis.eval;
  throws('EvalError', () => eval('1'));
  throws('EvalError', () => (0, eval)('1'));
  throws('EvalError', () => indirect('1'));
  throws('EvalError', () => eval?.('1'));
  throws('EvalError', () => Reflect.apply(eval, null, ['1']));
  const kinds = [() => {}, async () => {}, function* () {}, async function* () {}, class {}, ''.at, eval];
  for (const kind of kinds) {
    const { constructor } = Object.getPrototypeOf(kind);
    throws('EvalError', () => constructor('return 1'));
    throws('EvalError', () => new constructor('return 1'));
    throws('EvalError', () => Reflect.construct(constructor, ['return 1']));
  }
  throws('EvalError', () => new Function('return 1'));
  throws('EvalError', () => Function.prototype.constructor('return 1'));
  throws('EvalError', () => new (class extends Function {})('1'));
  throws('TypeError', () => setTimeout('1', 0));
  throws('TypeError', () => setInterval('1', 0));
  for (const name of ['data:text/javascript,export default 1', 'https://example.com/x.js', 'outbound:main', 'fs']) {
    let imported = true;
    await import(name).catch(() => (imported = false));
    ok(!imported, name);
  }
});
