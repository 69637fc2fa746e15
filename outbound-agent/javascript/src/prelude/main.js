// The web's classes on the global object, and the ways in from Rust.

import { expose, native } from 'outbound:native';
import { AbortController, AbortSignal } from 'outbound:abort';
import { Blob, File } from 'outbound:blob';
import { structuredClone } from 'outbound:clone';
import { console } from 'outbound:console';
import { crypto, Crypto, CryptoKey, SubtleCrypto } from 'outbound:crypto';
import { TextDecoder, TextDecoderStream, TextEncoder, TextEncoderStream, atob, btoa } from 'outbound:encoding';
import { environment } from 'outbound:env';
import { CustomEvent, Event, EventTarget } from 'outbound:event';
import { fetch } from 'outbound:fetch';
import { FormData } from 'outbound:formdata';
import { Headers } from 'outbound:headers';
import { adopt, bind, complain, dispatch, give, surround, tunnel } from 'outbound:invoke';
import { lockdown } from 'outbound:lockdown';
import { ReadableStream, ReadableStreamBYOBReader, ReadableStreamDefaultController, ReadableStreamDefaultReader } from 'outbound:readable';
import { Request } from 'outbound:request';
import { Response } from 'outbound:response';
import { URLSearchParams } from 'outbound:searchparams';
import { clearInterval, clearTimeout, forgetTimers, performance, queueMicrotask, setInterval, setTimeout } from 'outbound:timers';
import {
  ByteLengthQueuingStrategy,
  CountQueuingStrategy,
  FixedLengthStream,
  IdentityTransformStream,
  TransformStream,
  TransformStreamDefaultController,
} from 'outbound:transform';
import { URL } from 'outbound:url';
import { WritableStream, WritableStreamDefaultController, WritableStreamDefaultWriter } from 'outbound:writable';

export { adopt, complain, dispatch, forgetTimers, give, surround, tunnel };

export function install(functions, bindings) {
  Object.assign(native, functions);
  const navigator = { userAgent: 'outbound' };
  expose({ AbortController, AbortSignal, Blob, File, CustomEvent, Event, EventTarget, FormData, Headers });
  expose({ ReadableStream, ReadableStreamBYOBReader, ReadableStreamDefaultController, ReadableStreamDefaultReader });
  expose({ ByteLengthQueuingStrategy, CountQueuingStrategy, FixedLengthStream, IdentityTransformStream });
  expose({ TransformStream, TransformStreamDefaultController });
  expose({ WritableStream, WritableStreamDefaultController, WritableStreamDefaultWriter });
  expose({ Request, Response, URL, URLSearchParams, TextDecoder, TextDecoderStream, TextEncoder, TextEncoderStream });
  expose({ Crypto, CryptoKey, SubtleCrypto, crypto, atob, btoa, console, fetch, navigator, performance, structuredClone });
  expose({ clearInterval, clearTimeout, queueMicrotask, setInterval, setTimeout, self: globalThis });
  bind(environment(bindings));
  lockdown();
}
