// Dispatches from Node: `const dispatch = await get('acme', cgroup, { params_object: { … } })`,
// and when the request is done, `await dispatch.end()`.
import http from 'node:http';
import { pathToFileURL } from 'node:url';

const socketPath = process.env.OUTBOUND_SOCKET ?? '/run/outbound/admin.sock';
const namespace = process.env.OUTBOUND_NAMESPACE ?? 'production';

// The admin API is plain HTTP over a Unix socket.
function ask(method, path, question) {
  return new Promise((resolve, reject) => {
    const request = http.request(
      { socketPath, method, path: `/v1/namespaces/${namespace}/dispatch${path}` },
      async (response) => {
        let text = '';
        for await (const piece of response) text += piece;
        const answer = JSON.parse(text);
        if (response.statusCode < 400) resolve(answer);
        else reject(new Error(answer.error));
      },
    );
    request.on('error', reject);
    request.end(question && JSON.stringify(question));
  });
}

// From its next request on, what runs in the cgroup is the worker's, with these parameters. Fails
// with `Worker not found` where the namespace has no such tenant.
export async function get(worker, cgroup, outbound) {
  const { id } = await ask('POST', '', { worker, cgroup, outbound });
  return { id, end: () => ask('DELETE', `/${id}`) };
}

// node dispatcher.mjs WORKER CGROUP '{"params_object": …}': until standard input ends.
if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [worker, cgroup, outbound] = process.argv.slice(2);
  try {
    const dispatch = await get(worker, cgroup, JSON.parse(outbound));
    console.log(dispatch.id);
    for await (const _piece of process.stdin);
    await dispatch.end();
  } catch (error) {
    console.error(error.message);
    process.exit(error.message.startsWith('Worker not found') ? 4 : 1);
  }
}
