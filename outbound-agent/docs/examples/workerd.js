// An outbound worker in workerd: checks that it is the agent that asks, logs, lends api.example.com
// a token, forwards. What it sends goes to the agent, which resolves, decides and speaks TLS.

export default {
  async fetch(request, env, ctx) {
    const said = (name) => request.headers.get(`outbound-${name}`) ?? '';
    if (!(await isTheAgents(request.method, said, env.WORKER_KEY))) {
      return new Response(null, { status: 403 });
    }
    const { customer_name } = JSON.parse(said('parameters'));

    // A request of the worker's own says for which invocation it is, and where it goes.
    const own = { 'outbound-invocation': said('invocation'), 'outbound-url': env.LOG_URL };
    const entry = JSON.stringify({ customer_name, original_url: said('url') });
    ctx.waitUntil(fetch(said('egress'), { method: 'POST', headers: own, body: entry }));

    // The tenant's request is one that keeps all that it came with.
    const headers = new Headers(request.headers);
    if (new URL(said('url')).hostname === 'api.example.com') {
      headers.set('authorization', `Bearer of-${said('tenant')}`);
    }
    const { method, body } = request;
    return fetch(said('egress'), { method, headers, body, redirect: 'manual' });
  },
};

async function isTheAgents(method, said, secret) {
  const [, at, tag] = said('signature').match(/^t=(\d+),v1=([0-9a-f]{64})$/) ?? [];
  if (!tag || Math.abs(Date.now() / 1000 - at) > 60) return false;
  const lines = [at, method, ...['url', 'tenant', 'invocation', 'parameters'].map(said)];
  const encode = (text) => new TextEncoder().encode(text);
  const hmac = { name: 'HMAC', hash: 'SHA-256' };
  const key = await crypto.subtle.importKey('raw', encode(secret), hmac, false, ['verify']);
  const octets = Uint8Array.from(tag.match(/../g), (pair) => parseInt(pair, 16));
  return crypto.subtle.verify('HMAC', key, octets, encode(lines.join('\n')));
}
