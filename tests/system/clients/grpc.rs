use super::{SECRET, expect_denied, expect_logged, expect_told, host, origin, python};

/// Its messages are plain octets.
const ORIGIN: &str = "
import grpc, sys, threading
from concurrent import futures
def unary(request, context):
    print('unary', dict(context.invocation_metadata()).get('authorization'))
    context.set_trailing_metadata([('x-answered', 'yes')])
    return request
def count(request, context):
    for number in range(int(request)):
        yield str(number).encode()
def total(requests, context):
    return str(sum(map(len, requests))).encode()
def chat(requests, context):
    for request in requests:
        yield b'you said ' + request
def fail(request, context):
    context.set_trailing_metadata([('x-why', 'on purpose')])
    context.abort(grpc.StatusCode.NOT_FOUND, 'there is no \\u00e9clair')
def stall(request, context):
    context.add_callback(lambda: print('cancelled', request))
    gone = threading.Event()
    yield b'there'
    context.add_callback(gone.set)
    gone.wait(40)
kinds = {
    'Unary': grpc.unary_unary_rpc_method_handler(unary),
    'Count': grpc.unary_stream_rpc_method_handler(count),
    'Total': grpc.stream_unary_rpc_method_handler(total),
    'Chat': grpc.stream_stream_rpc_method_handler(chat),
    'Fail': grpc.unary_unary_rpc_method_handler(fail),
    'Stall': grpc.unary_stream_rpc_method_handler(stall),
}
server = grpc.server(futures.ThreadPoolExecutor(8))
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler('test.Service', kinds)])
read = lambda name: open(sys.argv[1] + name, 'rb').read()
pair = [(read('origin.key'), read('origin.pem'))]
server.add_secure_port('203.0.113.10:443', grpc.ssl_server_credentials(pair))
server.start()
print('listening')
server.wait_for_termination()
";

const CLIENT: &str = "
import grpc, queue
def told(error):
    return error.code().name, error.details(), error.trailing_metadata()
with grpc.secure_channel('api.test:443', grpc.ssl_channel_credentials()) as channel:
    method = lambda kind, name: getattr(channel, kind)('/test.Service/' + name)
    reply, call = method('unary_unary', 'Unary').with_call(b'hello', timeout=40)
    print(reply, call.code().name, dict(call.trailing_metadata())['x-answered'])
    much = bytes(2_000_000)
    print(method('unary_unary', 'Unary')(much, timeout=40) == much)
    print(b' '.join(method('unary_stream', 'Count')(b'5', timeout=40)))
    print(len(list(method('unary_stream', 'Count')(b'5000', timeout=40))))
    print(method('stream_unary', 'Total')(iter([b'ab', b'c', bytes(1 << 20)]), timeout=40))
    # Each message is answered before the next is sent.
    said = queue.SimpleQueue()
    answers = method('stream_stream', 'Chat')(iter(said.get, None), timeout=40)
    for word in (b'one', b'two', b'three'):
        said.put(word)
        print(next(answers))
    said.put(None)
    print(list(answers))
    calls = [method('unary_unary', 'Unary').future(str(n).encode(), timeout=40) for n in range(100)]
    print(all(call.result() == str(n).encode() for n, call in enumerate(calls)))
    try:
        method('unary_unary', 'Fail')(b'', timeout=40)
    except grpc.RpcError as error:
        code, details, trailers = told(error)
        print(code, details, dict(trailers)['x-why'])
    stalled = method('unary_stream', 'Stall')(b'late', timeout=1)
    try:
        print(list(stalled))
    except grpc.RpcError as error:
        print(error.code().name)
    stalled = method('unary_stream', 'Stall')(b'')
    print(next(stalled))
    stalled.cancel()
    try:
        next(stalled)
    except grpc.RpcError as error:
        print(error.code().name)
for target in ('evil.test:443', 'api.test:8443'):
    with grpc.secure_channel(target, grpc.ssl_channel_credentials()) as channel:
        try:
            channel.unary_unary('/test.Service/Denied')(b'', timeout=40)
        except grpc.RpcError as error:
            print(*told(error))
";

#[test]
fn grpc_is_carried_in_each_of_its_kinds_and_told() {
    let Some(host) = host() else { return };
    let origin = origin(&host, ORIGIN);
    let _agent = host.agent();
    let ended = python(&host, CLIENT).end();
    assert_eq!(ended.code, 0, "{ended:?}");
    let told = "b'hello' OK yes\nTrue\nb'0 1 2 3 4'\n5000\nb'1048579'\n\
                b'you said one'\nb'you said two'\nb'you said three'\n[]\nTrue\n\
                NOT_FOUND there is no éclair on purpose\nDEADLINE_EXCEEDED\nb'there'\nCANCELLED\n";
    assert!(ended.stdout.starts_with(told), "{ended:?}");
    expect_told(
        &ended,
        &["UNAVAILABLE", "evil.test", "PERMISSION_DENIED", "no_rule"],
    );
    for method in ["Unary", "Count", "Total", "Chat", "Fail"] {
        // The name is the one of the thread that connects.
        let path = format!("/test.Service/{method}");
        expect_logged(&host, &path, "event_engine", 200);
    }
    origin.expect(&format!("unary Bearer {SECRET}\n"));
    // Who gave up is given up by the origin as well.
    origin.expect("cancelled b''\n");
    let stalled = ("url.path", "/test.Service/Stall");
    host.expect_log(&[stalled, ("reason", "downstream_aborted")]);
    expect_denied(&host, 200);
}
