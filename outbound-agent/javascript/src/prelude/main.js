// The web's classes on the global object, and the ways in from Rust.

import { expose, forget, native, settle } from 'outbound:native';
import { Headers } from 'outbound:headers';
import { Request } from 'outbound:request';
import { Response } from 'outbound:response';
import { console } from 'outbound:console';
import { fetch } from 'outbound:fetch';
import { adopt, bind, dispatch } from 'outbound:invoke';

export { adopt, dispatch, forget, settle };

export function install(functions, { vars, secrets, caches }) {
  Object.assign(native, functions);
  expose({ Headers, Request, Response, fetch, console });
  bind(vars);
}
