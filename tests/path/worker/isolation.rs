//! What a worker that is a module may not, as its operator and its tenants count on it.

use harness::eventually;
use harness::origin::Origin;

use super::hosted::{Hosted, PATIENT};

/// Sends the tenant's request, or one of its own, where the path says.
const SENDS: &str = "export default { async fetch(request, env) {
    const to = `http://${env.OTHER}/`;
    const { pathname } = new URL(request.url);
    try {
        switch (pathname) {
            case '/own': return await fetch(to);
            case '/moved': return await fetch(new Request(to, request));
            case '/post': return await fetch(new Request(request, { method: 'POST', body: 'x' }));
            default: return await fetch(request);
        }
    } catch (error) {
        return new Response(error.message, { status: 299 });
    }
} }";

async fn sends(service: &str) -> (Hosted, Origin) {
    let other = Origin::http().await;
    let vars = format!(
        "vars = {{ OTHER = \"elsewhere.test:{}\" }}",
        other.address.port()
    );
    let hosted = Hosted::start("process", SENDS, &format!("{vars}\n{service}\n{PATIENT}")).await;
    (hosted, other)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tenants_request_sent_elsewhere_is_decided_by_its_policy_again() {
    let (hosted, other) = sends("").await;
    let reply = hosted.get("api.example.com", "/moved").await;
    assert_eq!(reply.status, 299, "{reply:?}");
    assert!(reply.body.contains("no_rule"), "{reply:?}");
    // What the worker asks for itself is its operator's business.
    let reply = hosted.get("api.example.com", "/own").await;
    assert_eq!((reply.status, other.connections()), (200, 1), "{reply:?}");
    assert_eq!(other.seen()[0].headers["outbound-worker"], "egress");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_worker_sends_the_tenants_request_where_it_may_go_itself() {
    let (hosted, other) = sends("trusted = true").await;
    let reply = hosted.get("api.example.com", "/moved").await;
    assert_eq!((reply.status, other.connections()), (200, 1), "{reply:?}");
    // It copied the tenant's fields: what the URL says counts.
    let host = format!("elsewhere.test:{}", other.address.port());
    assert_eq!(other.seen()[0].headers["host"], *host);
    let (hosted, other) = sends("trusted = true\nnetwork = [\"public\"]").await;
    let reply = hosted.get("api.example.com", "/moved").await;
    assert_eq!((reply.status, other.connections()), (299, 0), "{reply:?}");
    assert!(reply.body.contains("private_address"), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workers_own_request_stays_in_its_network() {
    for (network, is_reached) in [
        ("[\"public\"]", false),
        ("[\"private:10.0.0.0/8\"]", false),
        ("[\"public\", \"private:127.0.0.0/8\"]", true),
    ] {
        let (hosted, other) = sends(&format!("network = {network}")).await;
        let reply = hosted.get("api.example.com", "/own").await;
        let expected = if is_reached { (200, 1) } else { (299, 0) };
        assert_eq!(
            (reply.status, other.connections()),
            expected,
            "{network}: {reply:?}"
        );
        // The tenant's own goes where its policy leads.
        let reply = hosted.get("api.example.com", "/").await;
        assert_eq!(reply.status, 200, "{network}: {reply:?}");
    }
}

/// Sets a field of the tenant's request, or of one of its own, as the path says.
const SETS: &str = "export default { async fetch(request) {
    const url = new URL(request.url);
    const [whose, name, value] = url.pathname.slice(1).split('/');
    const headers = new Headers(whose === 'own' ? {} : request.headers);
    headers.set(name, value);
    try {
        return await fetch(whose === 'own' ? url : request, { headers });
    } catch (error) {
        return new Response(error.message, { status: 299 });
    }
} }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_frames_and_addresses_a_request_is_not_the_workers_to_say() {
    let hosted = Hosted::start("process", SETS, PATIENT).await;
    for whose in ["tenants", "own"] {
        for (name, value) in [
            ("connection", "close"),
            ("keep-alive", "1"),
            ("proxy-connection", "close"),
            ("trailer", "x"),
            ("transfer-encoding", "chunked"),
            ("te", "gzip"),
            ("upgrade", "x"),
            ("host", "other.test"),
            ("content-length", "7"),
        ] {
            let path = format!("/{whose}/{name}/{value}");
            let reply = hosted.get("api.example.com", &path).await;
            assert_eq!(reply.status, 299, "{path}: {reply:?}");
            let said = format!("the header `{name}` is the agent's to set");
            assert!(reply.body.contains(&said), "{path}: {reply:?}");
        }
    }
    assert_eq!(hosted.origin.connections(), 0);
    assert_eq!(
        hosted.get("api.example.com", "/own/x-a/b").await.status,
        200
    );
}

/// Throws as the path says.
const THROWS: &str = "export default { async fetch(request, env, ctx) {
    ctx.passThroughOnException();
    const { pathname } = new URL(request.url);
    if (pathname === '/read') await request.text();
    if (pathname === '/part') await request.body.getReader().read();
    if (pathname === '/sent') await fetch(request);
    throw new Error('of the operator');
} }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn to_pass_through_on_exceptions_opens_nothing() {
    let hosted = Hosted::start("process", THROWS, PATIENT).await;
    let reply = hosted.get("api.example.com", "/").await;
    assert_eq!(reply.status, 500, "{reply:?}");
    assert_eq!(reply.json()["reason"], "worker_exception");
    assert_eq!(hosted.origin.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_go_on_without_a_worker_that_fails_only_where_its_service_says_so() {
    let hosted = Hosted::start(
        "process",
        THROWS,
        &format!("on_error = \"forward\"\n{PATIENT}"),
    )
    .await;
    let post = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello",
            hosted.host("api.example.com")
        )
    };
    let address = hosted.origin.address;
    let reply = hosted.agent.ask("acme", address, &post("/")).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    hosted
        .agent
        .expect_log(&[("worker.outcome", "forwarded"), ("outcome", "completed")]);
    assert_eq!(hosted.origin.seen()[0].body, "hello");
    // Not once the worker has sent it, or has anything of its body.
    for path in ["/sent", "/read", "/part"] {
        let reply = hosted.agent.ask("acme", address, &post(path)).await;
        assert_eq!(reply.status, 500, "{path}: {reply:?}");
    }
    let seen = hosted.origin.seen();
    let targets: Vec<_> = seen.iter().map(|seen| seen.target.to_string()).collect();
    assert_eq!(targets, ["/", "/sent"]);
    // What policy denies it never sees, and nothing carries it on.
    let reply = hosted.get("denied.test", "/").await;
    assert_eq!(reply.status, 403, "{reply:?}");
    assert_eq!(hosted.origin.seen().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_worker_asks_for_itself_does_not_come_back_to_it() {
    let (hosted, other) = sends("").await;
    assert_eq!(hosted.get("api.example.com", "/own").await.status, 200);
    // A tenant's listener that passes on all that it is asked.
    let asked = eventually("the worker's request arrives", || other.seen().pop());
    let mark = asked.headers["outbound-worker"]
        .to_str()
        .unwrap()
        .to_owned();
    let request = format!(
        "GET /own HTTP/1.1\r\nhost: {}\r\noutbound-worker: {mark}\r\nconnection: close\r\n\r\n",
        hosted.host("api.example.com")
    );
    let reply = hosted
        .agent
        .ask("acme", hosted.origin.address, &request)
        .await;
    assert_eq!(reply.status, 508, "{reply:?}");
    assert_eq!(reply.json()["reason"], "worker_loop");
    assert_eq!((other.connections(), hosted.origin.connections()), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_method_is_another_request_to_policy() {
    let rule = "[[policies.p.rules]]\nname = \"read-only\"\nhost = \"api.example.com\"\n\
                methods = [\"POST\"]\naction = \"deny\"\n";
    let module = SENDS.replace("env.OTHER", "'x'");
    let hosted = Hosted::start("process", &module, &format!("{PATIENT}\n{rule}")).await;
    let reply = hosted.get("api.example.com", "/post").await;
    assert_eq!(
        (reply.status, hosted.origin.connections()),
        (299, 0),
        "{reply:?}"
    );
    assert!(reply.body.contains("rule_deny"), "{reply:?}");
}

/// Keeps the mark of one request, and says of another that it is that one.
const FORGES: &str = "let kept; export default { async fetch(request, env) {
    const { pathname } = new URL(request.url);
    if (pathname === '/keep') {
        kept = request.headers.get('outbound-request');
        return new Response('kept');
    }
    const mark = pathname === '/kept' ? kept : pathname.slice(1);
    try {
        return await fetch(request.url, { headers: { 'outbound-request': mark } });
    } catch (error) {
        return new Response(error.message, { status: 299 });
    }
} }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_of_another_request_makes_none_the_tenants() {
    // The tenant may go there, the worker may not.
    let service = format!("network = [\"public\"]\n{PATIENT}");
    let hosted = Hosted::start("process", FORGES, &service).await;
    assert_eq!(hosted.get("api.example.com", "/keep").await.body, "kept");
    for path in ["/kept", "/1", "/"] {
        let reply = hosted.get("api.example.com", path).await;
        assert_eq!(reply.status, 299, "{path}: {reply:?}");
        assert!(reply.body.contains("private_address"), "{path}: {reply:?}");
    }
    assert_eq!(hosted.origin.connections(), 0);
}

/// Says of its response what the agent alone says.
const FRAMES: &str = "export default { async fetch(request) {
    if (request.url.endsWith('/other')) return new Response('another', await fetch(request));
    const headers = { connection: 'x-hop', 'keep-alive': '1', 'proxy-connection': 'close',
        'transfer-encoding': 'gzip', upgrade: 'x', 'content-length': '999', 'x-hop': '1', 'x-end': '1' };
    return new Response('hello', { headers });
} }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_frames_a_response_is_not_the_workers_to_say() {
    let hosted = Hosted::start("process", FRAMES, PATIENT).await;
    for (path, body) in [("/", "hello"), ("/other", "another")] {
        let reply = hosted.get("api.example.com", path).await;
        assert_eq!((reply.status, &*reply.body), (200, body), "{reply:?}");
        let mut names = reply.head.lines().filter_map(|line| line.split_once(": "));
        let length = format!("content-length: {}", body.len());
        assert!(reply.head.contains(&length), "{reply:?}");
        // The one connection field is the agent's own answer to what the tenant asked.
        let is_framing = |(name, value): (&str, &str)| {
            let never = [
                "keep-alive",
                "proxy-connection",
                "transfer-encoding",
                "upgrade",
                "x-hop",
            ];
            never.contains(&name) || name == "connection" && value != "close"
        };
        assert!(!names.any(is_framing), "{reply:?}");
        assert_eq!(reply.head.contains("x-end"), path == "/", "{reply:?}");
    }
}
