// Told of each request of the customers; gives each the customer's own token.
export default {
  async fetch(request, env, ctx) {
    const { customer_name } = env;
    const entry = JSON.stringify({ customer_name, url: request.url });
    ctx.waitUntil(fetch(env.LOG_URL, { method: 'POST', body: entry }));
    const headers = new Headers(request.headers);
    const jwt = await env.SIGNING_KEY.signJwt({ sub: customer_name }, { expiresIn: '5m' });
    headers.set('Authorization', `Bearer ${jwt}`);
    return fetch(new Request(request, { headers }));
  },
};
