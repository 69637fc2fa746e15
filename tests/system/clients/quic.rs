use super::{Stage, expect_told};

/// As browsers do, HTTP/3 first; TCP where the network says no. That it says so, rather than
/// nothing, is what the patience is for: it is longer than a test may take.
const CLIENT: &str = "
import asyncio, errno, socket, sys
import httpx
from aioquic.asyncio import QuicConnectionProtocol
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
PATIENCE = 600
class Protocol(QuicConnectionProtocol):
    def error_received(self, error):
        if not refused.done():
            refused.set_result(error)
async def http3(connected):
    global refused
    loop = asyncio.get_running_loop()
    refused = loop.create_future()
    configuration = QuicConfiguration(alpn_protocols=['h3'], server_name='api.test')
    found = await loop.getaddrinfo('api.test', 443, type=socket.SOCK_DGRAM)
    made = lambda: Protocol(QuicConnection(configuration=configuration))
    if connected:
        # What getaddrinfo and Chromium do: the error comes from the call.
        await loop.create_datagram_endpoint(made, remote_addr=found[0][4])
    transport, protocol = await loop.create_datagram_endpoint(made, ('0.0.0.0', 0))
    protocol.connect(found[0][4])
    raise await asyncio.wait_for(refused, PATIENCE)
for connected in (True, False):
    try:
        asyncio.run(http3(connected))
    except OSError as error:
        print(errno.errorcode[error.errno])
with httpx.Client(http2=True, timeout=40) as client:
    reply = client.get('https://api.test/quic')
    print(reply.http_version, reply.text, end='')
";

#[test]
fn who_tries_quic_first_is_refused_at_once_and_falls_back() {
    let Some(stage) = Stage::new() else { return };
    let ended = stage.python(CLIENT).end();
    assert_eq!(ended.code, 0, "{ended:?}");
    let told = ended.stdout.lines().collect::<Vec<_>>();
    let [connecting, sending, reply] = told[..] else {
        panic!("{ended:?}")
    };
    // Before Linux 6.1 a hook cannot choose another errno than EPERM.
    for errno in [connecting, sending] {
        assert!(["ECONNREFUSED", "EPERM"].contains(&errno), "{ended:?}");
    }
    assert_eq!(reply, "HTTP/2 hello from api.test/quic");
    expect_told(&ended, &[]);
    stage.expect_carried("/quic", "python");
    let line = stage.host.expect_log(&[("kind", "security_event")]);
    for (field, expected) in [
        ("tenant", "acme"),
        ("network.transport", "udp"),
        ("kernel.counter", "datagram"),
        ("outcome", "refused"),
    ] {
        assert_eq!(line[field], expected, "{field} of {line:#}");
    }
}
