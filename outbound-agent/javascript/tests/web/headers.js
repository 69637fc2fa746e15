// After WPT fetch/api/headers.
import run, { equal, ok, test, throws } from './harness.js';
export default run;

test('names are lower-cased, values trimmed', () => {
  const h = new Headers([['X-A', '  b\t'], ['x-a', 'c']]);
  equal([...h], [['x-a', 'b, c']]);
  equal(h.get('X-a'), 'b, c');
});
test('a missing header is null', () => equal(new Headers().get('a'), null));
test('init takes records, sequences, headers and undefined', () => {
  equal([...new Headers({ b: '2', a: '1' })], [['a', '1'], ['b', '2']]);
  equal([...new Headers(new Headers({ a: '1' }))], [['a', '1']]);
  equal([...new Headers(new Map([['a', '1']]))], [['a', '1']]);
  equal([...new Headers(undefined)], []);
  throws('TypeError', () => new Headers(null));
  throws('TypeError', () => new Headers(5));
  throws('TypeError', () => new Headers('a'));
  throws('TypeError', () => new Headers([['a']]), 'of two');
  throws('TypeError', () => new Headers([['a', 'b', 'c']]));
});
test('names and values are checked, and the error says which', () => {
  throws('TypeError', () => new Headers().append('a b', '1'), 'Headers.append: name');
  throws('TypeError', () => new Headers().set('', '1'), 'Headers.set: name');
  throws('TypeError', () => new Headers().append('a', 'x\r\ny'), 'value');
  throws('TypeError', () => new Headers().append('a', '\u0100'), 'value');
  throws('TypeError', () => new Headers().append('a'), 'needs 2 arguments');
  throws('TypeError', () => new Headers().get(Symbol('x')));
});
test('set replaces all, append adds, delete removes', () => {
  const h = new Headers([['a', '1'], ['b', '2'], ['A', '3']]);
  h.set('a', '4');
  equal([...h], [['a', '4'], ['b', '2']]);
  h.delete('A');
  equal(h.has('a'), false);
  equal([...h.keys()], ['b']);
  equal([...h.values()], ['2']);
});
test('cookies stay apart', () => {
  const h = new Headers([['set-cookie', 'a=1'], ['Set-Cookie', 'b=2'], ['z', '1'], ['a', '1']]);
  equal(h.getSetCookie(), ['a=1', 'b=2']);
  equal(h.get('set-cookie'), 'a=1, b=2');
  equal([...h], [['a', '1'], ['set-cookie', 'a=1'], ['set-cookie', 'b=2'], ['z', '1']]);
});
test('iteration is live and sorted', () => {
  const h = new Headers({ b: '1', a: '2', c: '3' });
  const seen = [];
  for (const [name] of h) {
    seen.push(name);
    h.delete(name === 'a' ? 'b' : 'none');
  }
  equal(seen, ['a', 'c']);
  const i = h.entries();
  equal(Object.prototype.toString.call(i), '[object Headers Iterator]');
  ok(i[Symbol.iterator]() === i);
});
test('forEach gives value, name and headers', () => {
  const h = new Headers({ a: '1' });
  h.forEach(function (value, name, all) {
    equal([value, name, all === h, this.x], ['1', 'a', true, 5]);
  }, { x: 5 });
  throws('TypeError', () => h.forEach());
});
test('headers of a received response are immutable, a copy is not', async () => {
  const response = await fetch('https://cookies.test/');
  throws('TypeError', () => response.headers.set('a', 'b'), 'immutable');
  equal(response.headers.getSetCookie(), ['a=1', 'b=2']);
  equal(response.headers.get('x-many'), '1, 2');
  const copy = new Headers(response.headers);
  copy.set('a', 'b');
  equal(copy.get('a'), 'b');
  equal(copy.getSetCookie(), ['a=1', 'b=2']);
});
test('the class looks as on the web', () => {
  equal(Object.prototype.toString.call(new Headers()), '[object Headers]');
  ok(Object.getOwnPropertyDescriptor(Headers.prototype, 'get').enumerable);
  ok(Headers.prototype[Symbol.iterator] === Headers.prototype.entries);
  throws('TypeError', () => Headers.prototype.get.call({}, 'a'));
  equal(Headers.length, 0);
});
