// fetch: hands a request to the host.

import { native, wait } from 'outbound:native';
import { take } from 'outbound:body';
import { wire } from 'outbound:headers';
import { Request, isRequest, stateOf } from 'outbound:request';
import { received } from 'outbound:response';

export async function fetch(input, init = undefined) {
  const request = isRequest(input) && init === undefined ? input : new Request(input, init);
  const { url, method, headers, body } = stateOf(request);
  const operation = native.fetch(method, url, wire(headers), take(body, 'fetch'));
  const [status, statusText, head, content] = await wait(operation);
  return received(status, statusText, head, content, url);
}
