// Text and bytes: TextEncoder, TextDecoder, their streams, base64.

import { native, finish } from 'outbound:native';
import { bytesOf, demand, dictionary, octets, range, usv } from 'outbound:convert';
import { load } from 'outbound:late';

class TextEncoder {
  get encoding() {
    return 'utf-8';
  }
  encode(input = '') {
    return native.encode(usv(input, 'TextEncoder.encode', 'input'));
  }
  encodeInto(source, destination) {
    demand('TextEncoder.encodeInto', arguments.length, 2);
    const text = usv(source, 'TextEncoder.encodeInto', 'source');
    const target = bytesOf(destination, 'TextEncoder.encodeInto', 'destination');
    let read = 0;
    let written = 0;
    for (const character of text) {
      const bytes = native.encode(character);
      if (written + bytes.byteLength > target.byteLength) break;
      target.set(bytes, written);
      written += bytes.byteLength;
      read += character.length;
    }
    return { read, written };
  }
}
finish(TextEncoder);

const UTF8 = ['utf-8', 'utf8', 'unicode-1-1-utf-8', 'unicode11utf8', 'unicode20utf8', 'x-unicode20utf8'];
const LATIN1 = ['latin1', 'iso-8859-1', 'ascii', 'us-ascii', 'windows-1252'];

class TextDecoder {
  #fatal;
  #ignoreBOM;
  #encoding;
  #rest = new Uint8Array();
  #begun = false;

  constructor(label = 'utf-8', options = undefined) {
    const name = `${label}`.trim().toLowerCase();
    if (UTF8.includes(name)) this.#encoding = 'utf-8';
    else if (LATIN1.includes(name)) this.#encoding = 'windows-1252';
    else range('TextDecoder', `label "${label}" is not supported; accepted: utf-8, windows-1252`);
    const { fatal, ignoreBOM } = dictionary(options, 'TextDecoder', 'options');
    this.#fatal = Boolean(fatal);
    this.#ignoreBOM = Boolean(ignoreBOM);
  }
  get encoding() {
    return this.#encoding;
  }
  get fatal() {
    return this.#fatal;
  }
  get ignoreBOM() {
    return this.#ignoreBOM;
  }
  decode(input = undefined, options = undefined) {
    const { stream } = dictionary(options, 'TextDecoder.decode', 'options');
    let bytes = input === undefined ? new Uint8Array() : bytesOf(input, 'TextDecoder.decode', 'input');
    if (this.#encoding !== 'utf-8') return native.decodeLatin1(bytes);
    if (this.#rest.byteLength > 0) {
      const joined = new Uint8Array(this.#rest.byteLength + bytes.byteLength);
      joined.set(this.#rest);
      joined.set(bytes, this.#rest.byteLength);
      bytes = joined;
    }
    const kept = stream ? unfinished(bytes) : 0;
    this.#rest = bytes.slice(bytes.byteLength - kept);
    const keepBOM = this.#ignoreBOM || this.#begun;
    if (bytes.byteLength - kept > 0) this.#begun = true;
    if (!stream) this.#begun = false;
    return native.decode(bytes.subarray(0, bytes.byteLength - kept), this.#fatal, keepBOM);
  }
}
finish(TextDecoder);

/** How many bytes at the end begin a character that is not whole. */
function unfinished(bytes) {
  const length = bytes.byteLength;
  for (let back = 1; back <= 3 && back <= length; back++) {
    const octet = bytes[length - back];
    if ((octet & 0xc0) === 0x80) continue;
    const needed = octet >= 0xf0 ? 4 : octet >= 0xe0 ? 3 : octet >= 0xc2 ? 2 : 1;
    return needed > back ? back : 0;
  }
  return 0;
}

class TextEncoderStream {
  #transform;
  constructor() {
    let high = '';
    const { TransformStream } = load('outbound:transform');
    this.#transform = new TransformStream({
      transform(chunk, controller) {
        let text = high + `${chunk}`;
        const last = text.charCodeAt(text.length - 1);
        high = last >= 0xd800 && last <= 0xdbff ? text.slice(-1) : '';
        if (high !== '') text = text.slice(0, -1);
        if (text !== '') controller.enqueue(native.encode(text.toWellFormed()));
      },
      flush(controller) {
        if (high !== '') controller.enqueue(native.encode('\ufffd'));
      },
    });
  }
  get encoding() {
    return 'utf-8';
  }
  get readable() {
    return this.#transform.readable;
  }
  get writable() {
    return this.#transform.writable;
  }
}
finish(TextEncoderStream);

class TextDecoderStream {
  #decoder;
  #transform;
  constructor(label = 'utf-8', options = undefined) {
    const decoder = new TextDecoder(label, options);
    const give = (text, controller) => {
      if (text !== '') controller.enqueue(text);
    };
    this.#decoder = decoder;
    const { TransformStream } = load('outbound:transform');
    this.#transform = new TransformStream({
      transform(chunk, controller) {
        give(decoder.decode(chunk, { stream: true }), controller);
      },
      flush(controller) {
        give(decoder.decode(), controller);
      },
    });
  }
  get encoding() {
    return this.#decoder.encoding;
  }
  get fatal() {
    return this.#decoder.fatal;
  }
  get ignoreBOM() {
    return this.#decoder.ignoreBOM;
  }
  get readable() {
    return this.#transform.readable;
  }
  get writable() {
    return this.#transform.writable;
  }
}
finish(TextDecoderStream);

const invalid = (api, text) => new DOMException(`${api}: ${text}`, 'InvalidCharacterError');

export function btoa(data) {
  demand('btoa', arguments.length, 1);
  let text;
  try {
    text = octets(data, 'btoa', 'data');
  } catch (error) {
    throw invalid('btoa', 'data has characters beyond U+00FF');
  }
  return native.toBase64(text);
}

export function atob(data) {
  demand('atob', arguments.length, 1);
  const text = native.fromBase64(`${data}`.toWellFormed());
  if (text === undefined) throw invalid('atob', 'data is no base64');
  return text;
}

export { TextEncoder, TextDecoder, TextEncoderStream, TextDecoderStream };
