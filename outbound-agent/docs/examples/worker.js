// An outbound worker as a module: logs every request, and signs in to one API for the customer.
// With `vars = { LOG_URL = "https://logs.example.net/" }`, `secrets = { SIGNING_KEY = "file:…" }`
// and the parameters `customer_name` and `url`.

export default {
  async fetch(request, env, ctx) {
    const { customer_name, url: original_url } = env;

    // Told without holding the response up.
    ctx.waitUntil(
      fetch(env.LOG_URL, {
        method: 'POST',
        body: JSON.stringify({ customer_name, original_url }),
      }),
    );

    if (new URL(original_url).hostname === 'api.example.com') {
      const jwt = await make_jwt_for_customer(env, customer_name);
      const headers = new Headers(request.headers);
      headers.set('Authorization', `Bearer ${jwt}`);
      // The same request, body included, with other headers.
      return fetch(new Request(request, { headers }));
    }
    return fetch(request);
  },
};

// The agent signs: the key is nothing that this code could read.
function make_jwt_for_customer(env, customer_name) {
  return env.SIGNING_KEY.signJwt({ sub: customer_name }, { expiresIn: '5m' });
}
