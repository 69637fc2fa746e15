use std::future::pending;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::{ClientConfig, ClientConnection};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncWriteExt as _, duplex};

use super::*;

const LIMITS: Limits = Limits {
    first_byte: Duration::from_millis(20),
    rest: Duration::from_millis(200),
};

fn client_hello(name: &str, alpn: &[&[u8]]) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    hello
}

/// Sends `bytes` one by one, keeps the connection open, and detects.
async fn detect_bytes(bytes: &[u8]) -> Result<Detected<tokio::io::DuplexStream>, Reason> {
    let (mut workload, agent) = duplex(1);
    let send = async move {
        drop(workload.write_all(bytes).await);
        pending::<()>().await;
    };
    tokio::select! {
        detected = detect(agent, LIMITS) => detected.map_err(|(_stream, reason)| reason),
        () = send => unreachable!(),
    }
}

#[tokio::test]
async fn a_request_is_http_even_byte_by_byte() {
    for request in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"OPTIONS * HTTP/1.1\r\n",
        b"M-SEARCH * HTTP/1.1\r\n",
        b"PRINT / HTTP/1.0\r\n",
    ] {
        assert!(matches!(detect_bytes(request).await, Ok(Detected::Http(_))));
    }
}

#[tokio::test]
async fn the_bytes_that_were_looked_at_are_read_again() {
    let Ok(Detected::Http(mut replay)) = detect_bytes(b"GET / HTTP/1.1\r\n").await else {
        panic!("http")
    };
    let mut start = [0; 4];
    replay.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"GET ");
}

#[tokio::test]
async fn a_client_hello_in_single_bytes_gives_name_and_alpn() {
    let hello = client_hello("API.example.com", &[b"h2", b"http/1.1"]);
    let Ok(Detected::Tls(hello, _)) = detect_bytes(&hello).await else {
        panic!("tls")
    };
    assert_eq!(hello.server_name, Some("api.example.com".parse().unwrap()));
    assert_eq!(
        hello.alpn,
        [Box::from(*b"h2") as Box<[u8]>, Box::from(*b"http/1.1")]
    );
}

#[tokio::test]
async fn a_client_hello_for_an_address_has_no_name() {
    let hello = client_hello("192.0.2.1", &[]);
    let Ok(Detected::Tls(hello, _)) = detect_bytes(&hello).await else {
        panic!("tls")
    };
    assert_eq!(hello.server_name, None);
}

#[tokio::test]
async fn a_broken_client_hello_is_malformed() {
    let mut hello = client_hello("api.example.com", &[]);
    hello[5] = 2; // ServerHello instead of ClientHello
    assert_eq!(detect_bytes(&hello).await.unwrap_err(), Reason::Malformed);
}

#[tokio::test]
async fn what_is_neither_is_opaque() {
    for bytes in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"*1\r\n$4\r\nPING\r\n",
        b"\0\0\0\x08\x04\xd2\x16\x2f",
        b"get / HTTP/1.1\r\n",
        b" / HTTP/1.1\r\n",
    ] {
        assert!(
            matches!(detect_bytes(bytes).await, Ok(Detected::Opaque(_))),
            "{bytes:?}"
        );
    }
}

#[tokio::test]
async fn a_silent_peer_is_told_from_one_that_speaks() {
    assert!(matches!(
        detect_bytes(b"").await,
        Ok(Detected::Silent(_)) | Err(Reason::DownstreamAborted)
    ));
    let (_workload, agent) = duplex(1);
    assert!(matches!(
        detect(agent, LIMITS).await,
        Ok(Detected::Silent(_))
    ));
}

#[tokio::test]
async fn half_a_hello_times_out() {
    let hello = client_hello("api.example.com", &[]);
    let (mut workload, agent) = duplex(4096);
    workload.write_all(&hello[..20]).await.unwrap();
    assert_eq!(
        detect(agent, LIMITS).await.unwrap_err().1,
        Reason::ClientHelloTimeout
    );
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_told_by_its_preface() {
    let detected = detect_bytes(HTTP2_PREFACE).await;
    assert!(matches!(detected, Ok(Detected::Http2(_))));
}
