use harness::host::{Host, Running};

use super::{SECRET, expect_denied, expect_logged, expect_told, host, node, origin, python};

const ORIGIN: &str = "
import ssl, sys, threading
from websockets.sync.server import serve
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1] + '/origin.pem', sys.argv[1] + '/origin.key')
def handle(socket):
    headers = socket.request.headers
    print(socket.request.path, headers.get('authorization'), headers['host'])
    for message in socket:
        if message == 'leave':
            return socket.close(4000, 'as asked')
        socket.send(message)
for port, security in [(80, None), (443, context)]:
    server = serve(handle, '203.0.113.10', port, ssl=security, max_size=None, subprotocols=['v2'])
    threading.Thread(target=server.serve_forever).start()
print('listening')
";

/// Both print the same.
const TOLD: &str = "v2\nhello\ntrue\nponged\n4000 as asked\n";

fn scene() -> Option<(Host, Running)> {
    let host = host()?;
    let origin = origin(&host, ORIGIN);
    Some((host, origin))
}

#[test]
fn pythons_websockets_is_carried_and_told() {
    let Some((host, origin)) = scene() else {
        return;
    };
    let _agent = host.agent();
    for (scheme, name) in [("wss", "api.test"), ("ws", "bulk.test")] {
        let program = format!(
            "
import os
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
with connect('{scheme}://{name}/{scheme}', subprotocols=['v1', 'v2'], max_size=None) as socket:
    print(socket.subprotocol)
    socket.send('hello')
    print(socket.recv())
    much = os.urandom(1 << 22)
    socket.send(much)
    print(str(socket.recv() == much).lower())
    print('ponged' if socket.ping().wait(40) else 'in vain')
    socket.send('leave')
    try:
        socket.recv()
    except ConnectionClosed as error:
        print(error.rcvd.code, error.rcvd.reason)
"
        );
        assert_eq!(python(&host, &program).output(), TOLD);
    }
    expect_carried(&host, &origin, "/wss", "python");
    origin.expect("/ws None bulk.test\n");
    let denied = "
from websockets.sync.client import connect
for url in ('wss://evil.test/', 'wss://api.test:8443/'):
    try:
        connect(url)
    except Exception as error:
        print(error)
";
    let ended = python(&host, denied).end();
    expect_told(&ended, &["name resolution", "rejected", "HTTP 403"]);
    expect_denied(&host, 403);
}

#[test]
fn nodes_ws_is_carried_and_told() {
    let Some((host, origin)) = scene() else {
        return;
    };
    let _agent = host.agent();
    for (scheme, name) in [("wss", "api.test"), ("ws", "bulk.test")] {
        let program = format!(
            "
const WebSocket = require('ws');
const socket = new WebSocket('{scheme}://{name}/{scheme}', ['v1', 'v2']);
const much = require('crypto').randomBytes(1 << 22);
const next = () => new Promise(done => socket.once('message', done));
socket.on('open', async () => {{
    console.log(socket.protocol);
    socket.send('hello');
    console.log(String(await next()));
    socket.send(much);
    console.log(much.equals(await next()));
    socket.ping();
    await new Promise(done => socket.once('pong', done));
    console.log('ponged');
    socket.send('leave');
}});
socket.on('close', (code, reason) => console.log(code, String(reason)));
"
        );
        assert_eq!(node(&host, &program).output(), TOLD);
    }
    expect_carried(&host, &origin, "/wss", "node");
    origin.expect("/ws None bulk.test\n");
    let denied = "
const WebSocket = require('ws');
for (const url of ['wss://evil.test/', 'wss://api.test:8443/'])
    new WebSocket(url).on('error', error => console.log(String(error)));
";
    let ended = node(&host, denied).end();
    expect_told(
        &ended,
        &[
            "getaddrinfo ",
            "evil.test",
            "Unexpected server response: 403",
        ],
    );
    expect_denied(&host, 403);
}

#[track_caller]
fn expect_carried(host: &Host, origin: &Running, path: &str, program: &str) {
    let line = expect_logged(host, path, program, 101);
    for field in ["bytes.sent", "bytes.received"] {
        assert!(line[field].as_u64().unwrap() > 1 << 22, "{line:#}");
    }
    origin.expect(&format!("{path} Bearer {SECRET} api.test\n"));
}
