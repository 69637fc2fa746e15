//! A ClientHello, however it comes and whatever it claims.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use harness::agent::{Agent, Reply};
use harness::origin::Origin;
use harness::tls::{self, Identity};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// TLS to `api.test` ends here, that to `open.test` is passed through, and `evil.test` is denied.
async fn scene() -> (Origin, Agent) {
    let identity = Identity::new(&["api.test", "open.test"]);
    let origin = Origin::https(&identity, &["http/1.1"]).await;
    let agent = start(&identity);
    (origin, agent)
}

fn start(identity: &Identity) -> Agent {
    Agent::start(&format!(
        r#"
        [tls]
        roots = [{:?}]
        [resolver]
        hosts = {{ "api.test" = ["127.0.0.1"], "open.test" = ["127.0.0.1"] }}
        [policies.p]
        allow = ["api.test:*", "open.test:*", "127.0.0.0/8:*"]
        deny = ["evil.test"]
        tls = "terminate"
        passthrough = ["open.test:*"]
        [[tenants]]
        name = "acme"
        policy = "p"
        cgroup = "/acme"
        "#,
        identity.path()
    ))
}

/// A ClientHello of TLS 1.3 (RFC 8446 section 4.1.2) with these server names, and more
/// extensions (type and body). Nobody has its key: whoever answers it shows that it was taken.
fn hello(names: &[&str], more: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let counted = |body: &[u8]| [&u16::try_from(body.len()).unwrap().to_be_bytes(), body].concat();
    let listed: Vec<u8> = names
        .iter()
        .flat_map(|name| [vec![0], counted(name.as_bytes())].concat())
        .collect();
    let mut extensions = vec![
        (43, vec![2, 3, 4]),
        (10, vec![0, 2, 0, 29]),
        (13, vec![0, 2, 4, 3]),
        (51, counted(&[&[0, 29][..], &counted(&[9; 32])].concat())),
    ];
    if !names.is_empty() {
        extensions.push((0, counted(&listed)));
    }
    extensions.extend(more.iter().cloned());
    let extensions: Vec<u8> = extensions
        .iter()
        .flat_map(|(kind, body)| [&kind.to_be_bytes()[..], &counted(body)].concat())
        .collect();
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    // No session, one suite, no compression.
    body.extend([0, 0, 2, 0x13, 1, 1, 0]);
    body.extend(counted(&extensions));
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1][..], &length[1..], &body].concat()
}

/// A handshake message in records of at most `most` octets.
fn records(message: &[u8], most: usize) -> Vec<u8> {
    let record = |part: &[u8]| {
        let length = u16::try_from(part.len()).unwrap().to_be_bytes();
        [&[22, 3, 1][..], &length, part].concat()
    };
    message.chunks(most).flat_map(record).collect()
}

const RECORD: usize = 16_384;

async fn send(agent: &Agent, origin: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = agent.connect("acme", origin).await;
    stream.set_nodelay(true).unwrap();
    // Whatever is refused early is reset early.
    drop(stream.write_all(bytes).await);
    stream
}

/// The type of the first record, and of the first message in it, that comes back.
async fn answer(stream: &mut TcpStream) -> Option<(u8, u8)> {
    let mut record = [0; 6];
    stream.read_exact(&mut record).await.ok()?;
    Some((record[0], record[5]))
}

const SERVER_HELLO: Option<(u8, u8)> = Some((22, 2));

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_may_come_octet_by_octet_and_in_many_records() {
    let (origin, agent) = scene().await;
    let message = hello(&["api.test"], &[]);
    for bytes in [records(&message, RECORD), records(&message, 1)] {
        let mut stream = agent.connect("acme", origin.address).await;
        stream.set_nodelay(true).unwrap();
        for octet in bytes {
            stream.write_all(&[octet]).await.unwrap();
        }
        assert_eq!(answer(&mut stream).await, SERVER_HELLO);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_may_be_large_and_not_larger() {
    let (origin, agent) = scene().await;
    // Padding (RFC 7685) that makes the message 16 KiB, and then fill several records.
    for padding in [RECORD - 150, 2 * RECORD, 3 * RECORD] {
        let message = hello(&["api.test"], &[(21, vec![0; padding])]);
        let mut stream = send(&agent, origin.address, &records(&message, RECORD)).await;
        assert_eq!(answer(&mut stream).await, SERVER_HELLO, "{padding}");
    }
    // One that claims to be longer than any, which ends once more was sent than any needs.
    let endless = [&[1, 0xff, 0xff, 0xff][..], &[0; 100 * 1024]].concat();
    let mut stream = send(&agent, origin.address, &records(&endless, RECORD)).await;
    assert_ne!(answer(&mut stream).await, SERVER_HELLO);
    agent.expect_log(&[("reason", "malformed"), ("fault", "downstream")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_the_same_in_every_spelling() {
    let (origin, agent) = scene().await;
    for name in ["api.test", "API.Test", "api.test."] {
        let bytes = records(&hello(&[name], &[]), RECORD);
        let mut stream = send(&agent, origin.address, &bytes).await;
        assert_eq!(answer(&mut stream).await, SERVER_HELLO, "{name}");
    }
    for name in ["open.test", "OPEN.tesT."] {
        let bytes = records(&hello(&[name], &[]), RECORD);
        let mut stream = send(&agent, origin.address, &bytes).await;
        assert_eq!(answer(&mut stream).await, SERVER_HELLO, "{name}");
        drop(stream);
    }
    agent.expect_log(&[("kind", "tls"), ("server.address", "open.test")]);
    for name in ["evil.test", "EVIL.test"] {
        let before = origin.connections();
        let bytes = records(&hello(&[name], &[]), RECORD);
        let mut stream = send(&agent, origin.address, &bytes).await;
        // Where TLS ends, a denial is said inside it.
        assert_eq!(answer(&mut stream).await, SERVER_HELLO, "{name}");
        assert_eq!(origin.connections(), before);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_name_is_not_guessed_at() {
    let (origin, agent) = scene().await;
    // RFC 6066 section 3: one name of a kind.
    for names in [
        &["api.test", "evil.test"][..],
        &["evil.test", "api.test"],
        &["api.test\0.evil.test"],
        &["api..test"],
        &["*.api.test"],
        &[""],
    ] {
        let before = agent.log().len();
        let bytes = records(&hello(names, &[]), RECORD);
        let mut stream = send(&agent, origin.address, &bytes).await;
        assert_ne!(answer(&mut stream).await, SERVER_HELLO, "{names:?}");
        harness::eventually("it is told", || (agent.log().len() > before).then_some(()));
        let lines = agent.log();
        let reason = lines.last().unwrap()["reason"].as_str().unwrap();
        assert!(
            ["malformed", "downstream_tls"].contains(&reason),
            "{names:?}: {lines:#?}"
        );
    }
    assert_eq!(origin.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_name_the_address_speaks_for_itself() {
    let (origin, agent) = scene().await;
    let elsewhere = "192.0.2.1:443".parse().unwrap();
    let bytes = records(&hello(&[], &[]), RECORD);
    let mut stream = send(&agent, elsewhere, &bytes).await;
    // Nothing allows the address, which is said inside the TLS that ends here.
    assert_eq!(answer(&mut stream).await, SERVER_HELLO);
    // An address is no server name (RFC 6066 section 3): as if there were none.
    let bytes = records(&hello(&["127.0.0.1"], &[]), RECORD);
    let mut stream = send(&agent, elsewhere, &bytes).await;
    assert_eq!(answer(&mut stream).await, SERVER_HELLO);
    assert_eq!(origin.connections(), 0);
}

/// What stands in for an encrypted ClientHello (RFC 9849): the outer one, with some suite and
/// some payload. GREASE looks like it, on purpose.
fn encrypted() -> (u16, Vec<u8>) {
    let mut body = vec![0, 0, 1, 0, 1, 42, 0, 32];
    body.extend([5; 32]);
    body.extend([0, 200]);
    body.extend([6; 200]);
    (0xfe0d, body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encrypted_hello_is_judged_by_what_can_be_seen_of_it() {
    let (origin, agent) = scene().await;
    let bytes = records(&hello(&["api.test"], &[encrypted()]), RECORD);
    let mut stream = send(&agent, origin.address, &bytes).await;
    assert_eq!(answer(&mut stream).await, SERVER_HELLO);
    drop(stream);
    // Passed through it is the workload's own, to the octet.
    let seen = Arc::<Mutex<Vec<u8>>>::default();
    let kept = Arc::clone(&seen);
    let origin = Origin::raw(move |mut stream| {
        let kept = Arc::clone(&kept);
        async move {
            let mut bytes = Vec::new();
            drop(stream.read_to_end(&mut bytes).await);
            kept.lock().unwrap().extend(bytes);
        }
    })
    .await;
    let bytes = records(&hello(&["open.test"], &[encrypted()]), RECORD);
    let mut stream = send(&agent, origin.address, &bytes).await;
    stream.shutdown().await.unwrap();
    agent.expect_log(&[("kind", "tls"), ("server.address", "open.test")]);
    harness::eventually("the origin has it all", || {
        (*seen.lock().unwrap() == bytes).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_handshake_survives_a_hello_of_many_protocols() {
    let (origin, agent) = scene().await;
    let offered: Vec<String> = (0..65).map(|n| format!("{n:0>250}")).collect();
    let mut offered: Vec<&str> = offered.iter().map(String::as_str).collect();
    offered.push("http/1.1");
    let stream = agent.connect("acme", origin.address).await;
    let mut stream = tls::connect(stream, "api.test", &agent.authority(), &offered)
        .await
        .unwrap();
    let request = format!(
        "GET / HTTP/1.1\r\nhost: api.test:{}\r\nconnection: close\r\n\r\n",
        origin.address.port()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(Reply::read(&mut stream).await.body, "hello");
}
