// Blob and File: bytes in memory.

import { native, finish } from 'outbound:native';
import { bytesOf, demand, dictionary, fail, isBuffer, usv } from 'outbound:convert';
import { makeReadable } from 'outbound:late';

let blobBytes, isBlob;

class Blob {
  #bytes = new Uint8Array();
  #type = '';

  constructor(parts = undefined, options = undefined) {
    const { type = '', endings } = dictionary(options, 'Blob', 'options');
    if (endings !== undefined && endings !== 'transparent') fail('Blob', 'options.endings accepts transparent alone');
    if (parts !== undefined) {
      if (typeof parts !== 'object' || parts === null || typeof parts[Symbol.iterator] !== 'function') {
        fail('Blob', 'blobParts cannot be iterated');
      }
      const pieces = [];
      for (const part of parts) {
        if (isBlob(part)) pieces.push(part.#bytes);
        else if (isBuffer(part)) pieces.push(bytesOf(part));
        else pieces.push(native.encode(usv(part, 'Blob', 'blobParts')));
      }
      this.#bytes = concatenated(pieces);
    }
    const text = `${type}`;
    this.#type = /^[\x20-\x7e]*$/.test(text) ? text.toLowerCase() : '';
  }
  static {
    blobBytes = (blob) => blob.#bytes;
    isBlob = (value) => typeof value === 'object' && value !== null && #bytes in value;
  }
  get size() {
    return this.#bytes.byteLength;
  }
  get type() {
    return this.#type;
  }
  slice(start = 0, end = this.size, type = '') {
    const part = new Blob([], { type });
    part.#bytes = this.#bytes.slice(start, end);
    return part;
  }
  async text() {
    return native.decode(this.#bytes, false, false);
  }
  async arrayBuffer() {
    return this.#bytes.slice().buffer;
  }
  async bytes() {
    return this.#bytes.slice();
  }
  stream() {
    const bytes = this.#bytes;
    return makeReadable((core) => {
      core.bytes = true;
      core.highWater = 0;
      if (bytes.byteLength > 0) core.enqueue(bytes.slice());
      core.close();
    });
  }
}
finish(Blob);

class File extends Blob {
  #name;
  #lastModified;

  constructor(parts, name, options = undefined) {
    demand('File', arguments.length, 2);
    super(parts, options);
    this.#name = usv(name, 'File', 'fileName');
    this.#lastModified = Number(options?.lastModified ?? Date.now());
  }
  get name() {
    return this.#name;
  }
  get lastModified() {
    return this.#lastModified;
  }
}
finish(File);

export function concatenated(pieces) {
  let length = 0;
  for (const piece of pieces) length += piece.byteLength;
  const all = new Uint8Array(length);
  let place = 0;
  for (const piece of pieces) {
    all.set(piece, place);
    place += piece.byteLength;
  }
  return all;
}

export { Blob, File, blobBytes, isBlob };
