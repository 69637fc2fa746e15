//! WebSocket of workloads for upstreams that speak HTTP/2 and nothing else.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use harness::agent::Agent;
use harness::origin::Origin;
use harness::tls::{self, Identity};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{Empty, Full};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::in_time;

/// What the upstream was asked: the method, the path, and every field.
type Asked = Arc<Mutex<Vec<String>>>;

/// Speaks these protocols. A WebSocket is an echo where it `takes` them, everything else `426`.
async fn upstream(identity: &Identity, alpn: &[&str], takes: bool) -> (Origin, Asked) {
    let (acceptor, asked) = (identity.acceptor(alpn), Asked::default());
    let kept = Arc::clone(&asked);
    let origin = Origin::raw(move |stream| {
        let (acceptor, asked) = (acceptor.clone(), Arc::clone(&kept));
        async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let service = service_fn(move |request| answer(request, Arc::clone(&asked)));
            if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                let connection = hyper::server::conn::http1::Builder::new();
                drop(
                    connection
                        .serve_connection(TokioIo::new(stream), service)
                        .await,
                );
                return;
            }
            let mut connection = http2::Builder::new(TokioExecutor::new());
            if takes {
                connection.enable_connect_protocol();
            }
            drop(
                connection
                    .serve_connection(TokioIo::new(stream), service)
                    .await,
            );
        }
    })
    .await;
    (origin, asked)
}

async fn answer(
    mut request: Request<Incoming>,
    asked: Asked,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let protocol = request.extensions().get::<Protocol>();
    let protocol = protocol
        .map_or("none", |protocol| protocol.as_str())
        .to_owned();
    let mut names: Vec<&str> = request.headers().keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    let told = format!(
        "{} {} {protocol} {}",
        request.method(),
        request.uri().path(),
        names.join(",")
    );
    asked.lock().unwrap().push(told);
    let mut response = Response::new(Full::default());
    if *request.method() != Method::CONNECT {
        *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
        return Ok(response);
    }
    response
        .headers_mut()
        .insert("sec-websocket-protocol", "chat".parse().unwrap());
    drop(harness::spawn(async move {
        let upgraded = hyper::upgrade::on(&mut request).await.unwrap();
        let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
        drop(tokio::io::copy(&mut read, &mut write).await);
    }));
    Ok(response)
}

fn agent(identity: &Identity) -> Agent {
    Agent::start(&format!(
        r#"
        [tls]
        roots = [{:?}]
        [resolver]
        hosts = {{ "api.test" = ["127.0.0.1"] }}
        [policies.p]
        allow = ["api.test:*", "127.0.0.0/8:*"]
        tls = "terminate"
        [[tenants]]
        name = "acme"
        policy = "p"
        cgroup = "/acme"
        "#,
        identity.path()
    ))
}

/// Asks as a client of RFC 6455 does, and gives the head of the answer with the connection.
async fn ask(agent: &Agent, origin: &Origin) -> (TlsStream<TcpStream>, String) {
    let stream = agent.connect("acme", origin.address).await;
    let mut stream = tls::connect(stream, "api.test", &agent.authority(), &[])
        .await
        .unwrap();
    let request = format!(
        "GET /chat HTTP/1.1\r\nHost: api.test:{}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\n\r\n",
        origin.address.port()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = String::new();
    let mut byte = [0];
    while !head.ends_with("\r\n\r\n") && stream.read(&mut byte).await.unwrap_or(0) == 1 {
        head.push(char::from(byte[0]));
    }
    (stream, head)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_becomes_an_extended_connect_where_the_upstream_takes_nothing_else() {
    let identity = Identity::new(&["api.test"]);
    let (origin, asked) = upstream(&identity, &["h2"], true).await;
    let agent = agent(&identity);
    for _ in 0..2 {
        let (mut stream, head) = in_time("an answer", ask(&agent, &origin)).await;
        assert!(
            head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
            "{head}"
        );
        let head = head.to_ascii_lowercase();
        for field in [
            "upgrade: websocket\r\n",
            "connection: upgrade\r\n",
            "sec-websocket-protocol: chat\r\n",
            // The example of RFC 6455 section 1.3.
            "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n",
        ] {
            assert!(head.contains(field), "{head}");
        }
        let mut word = [0; 4];
        in_time("an echo", async {
            stream.write_all(b"ping").await.unwrap();
            stream.read_exact(&mut word).await.unwrap();
        })
        .await;
        assert_eq!(&word, b"ping");
    }
    let connect = "CONNECT /chat websocket sec-websocket-protocol,sec-websocket-version";
    assert_eq!(*asked.lock().unwrap(), [connect, connect]);
    // One that offered what the upstream does not speak, and one for both.
    assert_eq!(origin.connections(), 2);
    agent.expect_log(&[
        ("http.response.status_code", "101"),
        ("url.path", "/chat"),
        ("bytes.sent", "4"),
        ("bytes.received", "4"),
    ]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extended_connect_goes_on_as_one() {
    let identity = Identity::new(&["api.test"]);
    let (origin, asked) = upstream(&identity, &["h2"], true).await;
    let agent = agent(&identity);
    let stream = agent.connect("acme", origin.address).await;
    let stream = tls::connect(stream, "api.test", &agent.authority(), &["h2"])
        .await
        .unwrap();
    let mut sender = in_time("settings", Box::pin(super::extended(stream))).await;
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("https://api.test:{}/chat", origin.address.port()))
        .header("sec-websocket-version", "13")
        .extension(Protocol::from_static("websocket"))
        .body(Empty::<Bytes>::new())
        .unwrap();
    let mut response = in_time("an answer", sender.send_request(request))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(!response.headers().contains_key("sec-websocket-accept"));
    let upgraded = hyper::upgrade::on(&mut response).await.unwrap();
    let (mut socket, mut word) = (TokioIo::new(upgraded), [0; 4]);
    in_time("an echo", async {
        socket.write_all(b"ping").await.unwrap();
        socket.read_exact(&mut word).await.unwrap();
    })
    .await;
    assert_eq!(&word, b"ping");
    let connect = "CONNECT /chat websocket sec-websocket-version";
    assert_eq!(*asked.lock().unwrap(), [connect]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_takes_no_websocket_answers_as_it_would_without_an_upgrade() {
    let identity = Identity::new(&["api.test"]);
    for (alpn, takes, has_upgrade) in [
        (&["h2"][..], false, false),
        // HTTP/1.1 goes first: every WebSocket server knows it.
        (&["h2", "http/1.1"], true, true),
    ] {
        let (origin, asked) = upstream(&identity, alpn, takes).await;
        let agent = agent(&identity);
        let (_stream, head) = in_time("an answer", ask(&agent, &origin)).await;
        assert!(head.starts_with("HTTP/1.1 426 "), "{head}");
        let asked = asked.lock().unwrap();
        assert!(asked[0].starts_with("GET /chat none "), "{asked:?}");
        assert_eq!(asked[0].contains(",upgrade"), has_upgrade, "{asked:?}");
    }
}
