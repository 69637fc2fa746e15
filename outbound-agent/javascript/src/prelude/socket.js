// The socket of a connect handler: a tunnel of the workload, to refuse, forward or answer.

import { finish, native, promised, wait } from 'outbound:native';
import { bytesOf, dictionary, fail, isBuffer, text } from 'outbound:convert';
import { load, readableOf } from 'outbound:late';

const inside = {};
const { resolve } = promised;

let makeSocket, isDecided, breakOff;

class Socket {
  #invocation;
  #hostname;
  #port;
  #body;
  #decided = null;
  #readable = null;
  #writable = null;
  #writing = 0;
  #closed = Promise.withResolvers();

  constructor(key, invocation, hostname, port, body) {
    if (key !== inside) fail('Socket', 'cannot be constructed');
    this.#invocation = invocation;
    this.#hostname = hostname;
    this.#port = port;
    this.#body = body;
  }
  static {
    makeSocket = (...parts) => new Socket(inside, ...parts);
    isDecided = (socket) => socket.#decided !== null;
    /** The tunnel ends with an error, if it was answered. */
    breakOff = (socket, reason) => {
      if (socket.#writing !== 0) native.endWrite(socket.#writing, reason);
    };
  }

  #decide(how, hostname, port, body) {
    if (this.#decided !== null) fail(`Socket.${how}`, `the tunnel was already decided: ${this.#decided}`);
    this.#decided = how;
    native.decide(this.#invocation, how, hostname, port, body);
  }
  #answer() {
    if (this.#decided === 'answer') return;
    const numbers = native.writer();
    const { 0: reading, 1: writing } = numbers;
    this.#writing = writing;
    this.#decide('answer', '', 0, reading);
    this.#readable = readableOf(this.#body);
    const end = (reason) => {
      native.endWrite(writing, reason);
      this.#closed.resolve(undefined);
    };
    this.#writable = load('outbound:writable').makeWritable((core) => {
      core.write = (chunk) => {
        if (!isBuffer(chunk)) fail('Socket.writable', 'chunk is no Uint8Array');
        return wait(native.write(writing, bytesOf(chunk)));
      };
      core.close = () => end(null);
      core.abort = (reason) => end(String(reason).toWellFormed());
    });
  }

  /** What the workload asked to connect to. */
  get hostname() {
    return this.#hostname;
  }
  get port() {
    return this.#port;
  }
  get opened() {
    return resolve({ remoteAddress: `${this.#hostname}:${this.#port}` });
  }
  get closed() {
    return this.#closed.promise;
  }
  /** What the workload sends. Asking for it is answering. */
  get readable() {
    this.#answer();
    return this.#readable;
  }
  /** What the workload receives. */
  get writable() {
    this.#answer();
    return this.#writable;
  }
  /** Has the tunnel go on to where it wanted, or elsewhere; the policy decides that again. */
  forward(options = undefined) {
    const { hostname = this.#hostname, port = this.#port } = dictionary(options, 'Socket.forward', 'options');
    const number = Number(port);
    if (!(number >= 1 && number <= 65535)) fail('Socket.forward', `options.port is ${String(port)}; accepted: 1 to 65535`);
    this.#decide('forward', text(hostname, 'Socket.forward', 'options.hostname').toWellFormed(), number, 0);
  }
  /** Refuses the tunnel; the reason is for the operator. */
  refuse(reason = '') {
    this.#decide('refuse', text(reason, 'Socket.refuse', 'reason').toWellFormed(), 0, 0);
  }
  async close() {
    if (this.#decided === null) this.refuse('closed');
    else if (this.#writable !== null && !this.#writable.locked) await this.#writable.close();
  }
}
finish(Socket);

export { makeSocket, isDecided, breakOff };
