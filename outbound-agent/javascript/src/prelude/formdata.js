// FormData, and its form on the wire (RFC 7578).

import { native, finish } from 'outbound:native';
import { demand, fail, usv } from 'outbound:convert';
import { load } from 'outbound:late';
import { defineProperty, iterator } from 'outbound:primordials';

const { Blob, File, blobBytes, concatenated, isBlob } = load('outbound:blob');
let entriesOf, isFormData;

class FormData {
  #entries = [];

  constructor(form = undefined) {
    if (form !== undefined) fail('FormData', 'takes no argument here: there are no HTML forms');
  }
  static {
    entriesOf = (form) => form.#entries;
    isFormData = (value) => typeof value === 'object' && value !== null && #entries in value;
  }
  append(name, value, filename = undefined) {
    demand('FormData.append', arguments.length, 2);
    this.#entries.push(entry('FormData.append', name, value, filename));
  }
  set(name, value, filename = undefined) {
    demand('FormData.set', arguments.length, 2);
    const made = entry('FormData.set', name, value, filename);
    const place = this.#entries.findIndex(([key]) => key === made[0]);
    if (place < 0) {
      this.#entries.push(made);
      return;
    }
    this.#entries[place] = made;
    this.#entries = this.#entries.filter(([key], at) => at <= place || key !== made[0]);
  }
  delete(name) {
    demand('FormData.delete', arguments.length, 1);
    const wanted = usv(name, 'FormData.delete', 'name');
    this.#entries = this.#entries.filter(([key]) => key !== wanted);
  }
  get(name) {
    demand('FormData.get', arguments.length, 1);
    return this.getAll(name)[0] ?? null;
  }
  getAll(name) {
    demand('FormData.getAll', arguments.length, 1);
    const wanted = usv(name, 'FormData.getAll', 'name');
    return this.#entries.filter(([key]) => key === wanted).map(([, value]) => value);
  }
  has(name) {
    demand('FormData.has', arguments.length, 1);
    return this.getAll(name).length > 0;
  }
  forEach(callback, thisArgument = undefined) {
    for (const [name, value] of this) Reflect.apply(callback, thisArgument, [value, name, this]);
  }
  // By place: what is taken away meanwhile lets those behind it move up.
  *keys() {
    for (let i = 0; i < this.#entries.length; i++) yield this.#entries[i][0];
  }
  *values() {
    for (let i = 0; i < this.#entries.length; i++) yield this.#entries[i][1];
  }
  *entries() {
    for (let i = 0; i < this.#entries.length; i++) yield [this.#entries[i][0], this.#entries[i][1]];
  }
}
defineProperty(FormData.prototype, iterator, {
  value: FormData.prototype.entries,
  writable: true,
  configurable: true,
});
finish(FormData);

function entry(api, name, value, filename) {
  const key = usv(name, api, 'name');
  if (!isBlob(value)) {
    if (filename !== undefined) fail(api, 'value is no Blob, but there is a filename');
    return [key, usv(value, api, 'value')];
  }
  if (value instanceof File && filename === undefined) return [key, value];
  const title = filename === undefined ? 'blob' : usv(filename, api, 'filename');
  const { type, lastModified } = value;
  return [key, new File([value], title, { type, lastModified })];
}

const quoted = (text) => text.replace(/\n/g, '%0A').replace(/\r/g, '%0D').replace(/"/g, '%22');
const unquoted = (text) => text.replace(/%0A/gi, '\n').replace(/%0D/gi, '\r').replace(/%22/g, '"');

/** The bytes of a form, and the boundary in them. */
export function multipart(form) {
  const random = native.random(12);
  let boundary = '----outbound';
  for (const octet of random) boundary += octet.toString(16).padStart(2, '0');
  const pieces = [];
  for (const [name, value] of entriesOf(form)) {
    let head = `--${boundary}\r\nContent-Disposition: form-data; name="${quoted(name.replace(/\r?\n|\r/g, '\r\n'))}"`;
    if (typeof value === 'string') {
      pieces.push(native.encode(`${head}\r\n\r\n${value.replace(/\r?\n|\r/g, '\r\n')}\r\n`));
      continue;
    }
    head += `; filename="${quoted(value.name)}"\r\nContent-Type: ${value.type || 'application/octet-stream'}\r\n\r\n`;
    pieces.push(native.encode(head), blobBytes(value), native.encode('\r\n'));
  }
  pieces.push(native.encode(`--${boundary}--\r\n`));
  return { bytes: concatenated(pieces), boundary };
}

/** Reads what `multipart` writes. */
export function parseMultipart(bytes, type, api) {
  const match = /^multipart\/form-data\s*;.*\bboundary=(?:"([^"]+)"|([^;\s]+))/i.exec(type);
  if (match === null) fail(api, `content-type "${type}" is no form`);
  const form = new FormData();
  const mark = native.encode(`--${match[1] ?? match[2]}`);
  const broken = () => fail(api, 'the multipart body is malformed');
  let at = native.find(bytes, mark, 0);
  if (at !== 0) broken();
  for (;;) {
    at += mark.byteLength;
    if (bytes[at] === 0x2d && bytes[at + 1] === 0x2d) return form;
    if (bytes[at] !== 0x0d || bytes[at + 1] !== 0x0a) broken();
    const headEnd = native.find(bytes, CRLF2, at);
    const next = headEnd < 0 ? -1 : native.find(bytes, mark, headEnd);
    if (next < 0) broken();
    const head = native.decode(bytes.subarray(at + 2, headEnd), false, true);
    const content = bytes.slice(headEnd + 4, next - 2);
    const name = /^content-disposition:.*[;\s]name="([^"]*)"/im.exec(head)?.[1];
    if (name === undefined) broken();
    const filename = /^content-disposition:.*[;\s]filename="([^"]*)"/im.exec(head)?.[1];
    if (filename === undefined) {
      form.append(unquoted(name), native.decode(content, false, true));
    } else {
      const kind = /^content-type:\s*([^\r\n]+)/im.exec(head)?.[1] ?? 'text/plain';
      form.append(unquoted(name), new Blob([content], { type: kind }), unquoted(filename));
    }
    at = next;
  }
}

const CRLF2 = new Uint8Array([13, 10, 13, 10]);

export { FormData, isFormData };
