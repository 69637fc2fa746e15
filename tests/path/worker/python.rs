//! The worker of the documents that is a server in Python.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use harness::agent::{Agent, Reply};
use harness::eventually;
use harness::origin::Origin;
use tokio::io::AsyncWriteExt as _;

use super::server::{config, host};
use super::stream::read_until;

/// The example of the documents, as a process.
struct Python {
    process: Child,
    address: SocketAddr,
    told: Receiver<String>,
}

impl Python {
    fn start() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let example = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../outbound-agent/docs/examples/worker.py"
        );
        let mut process = Command::new("python3")
            .args([example, &address.port().to_string()])
            .env("WORKER_KEY", "between us")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let out = BufReader::new(process.stdout.take().unwrap());
        let (sender, told) = channel();
        std::thread::spawn(move || {
            out.lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        eventually("the example worker listens", || {
            TcpStream::connect(address).ok().map(drop)
        });
        Self {
            process,
            address,
            told,
        }
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_of_the_documents_answers_every_request() {
    let origin = Origin::http().await;
    let worker = Python::start();
    let agent = Agent::start(&config(worker.address, ""));
    let request = format!(
        "POST /v1?q=1 HTTP/1.1\r\nhost: {}\r\nauthorization: mine\r\noutbound-tenant: globex\r\n\
         content-length: 5\r\nconnection: close\r\n\r\nhello",
        host(&origin)
    );
    let reply = agent.ask("acme", origin.address, &request).await;
    assert_eq!((reply.status, &*reply.body), (200, "hello"));
    let url = format!("http://{}/v1?q=1", host(&origin));
    assert_eq!(worker.told.recv().unwrap(), format!("Acmé {url}"));
    let seen = origin.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].target, "/v1?q=1");
    assert_eq!(seen[0].body, "hello");
    assert_eq!(seen[0].headers["host"], *host(&origin));
    let values: Vec<_> = seen[0].headers.get_all("authorization").iter().collect();
    assert_eq!(values, ["Bearer of-acme"]);
    let ours = seen[0]
        .headers
        .keys()
        .filter(|name| name.as_str().starts_with("outbound-"));
    assert_eq!(ours.count(), 0, "{:?}", seen[0].headers);
    let line = agent.expect_log(&[("worker.outcome", "responded"), ("outcome", "completed")]);
    assert_eq!(line["worker.name"], "egress");
    assert_eq!(line["http.response.status_code"], 200);
    assert_eq!(line["bytes.sent"], 5);
    assert!(line["worker.duration_ms"].as_f64().unwrap() > 0.0);
    assert_eq!(line["network.peer.port"], origin.address.port());
    let sample = "outbound_worker_calls_total{outcome=\"responded\",service=\"egress\"}";
    agent.expect_metric(sample, 1.0);
}

/// What the agent sends of one request, to somebody who keeps it.
async fn recorded() -> String {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let worker = Origin::raw(move |mut stream| {
        let tell = tell.clone();
        async move {
            drop(tell.send(read_until(&mut stream, "\r\n\r\n").await));
        }
    })
    .await;
    let agent = Agent::start(&config(worker.address, ""));
    let origin = Origin::http().await;
    drop(
        agent
            .get("acme", origin.address, &host(&origin), "/a")
            .await,
    );
    told.recv().await.unwrap()
}

/// A head without the field of this name, or with another value.
fn changed(head: &str, name: &str, value: Option<&str>) -> String {
    let is_it = |line: &&str| line.starts_with(&format!("{name}: "));
    let line = head.lines().find(is_it).unwrap();
    let other = value.map_or(String::new(), |value| format!("{name}: {value}\r\n"));
    head.replace(&format!("{line}\r\n"), &other)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_answers_nobody_but_the_agent() {
    let head = recorded().await;
    let worker = Python::start();
    let ask = async |head: &str| {
        let mut stream = tokio::net::TcpStream::connect(worker.address)
            .await
            .unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        Reply::read(&mut stream).await.status
    };
    let line = head
        .lines()
        .find_map(|line| line.strip_prefix("outbound-signature: "));
    let (time, tag) = line.unwrap().split_once(',').unwrap();
    let forged = format!("{time},v1={}", "0".repeat(64));
    let (_, seconds) = time.split_once('=').unwrap();
    let later = format!("t={},{tag}", seconds.parse::<u64>().unwrap() + 1);
    for (name, value) in [
        ("outbound-signature", Some(&*forged)),
        ("outbound-signature", Some(&*later)),
        ("outbound-url", Some("http://api.example.com/b")),
        ("outbound-tenant", Some("globex")),
        ("outbound-invocation", Some("00")),
        ("outbound-parameters", Some("{}")),
    ] {
        let status = ask(&changed(&head, name, value)).await;
        assert_eq!(status, 403, "{name}: {value:?}");
    }
    assert_eq!(ask(&head.replacen("GET", "POST", 1)).await, 403);
    let unsigned = ask(&changed(&head, "outbound-signature", None)).await;
    assert_ne!(unsigned, 200);
    assert!(worker.told.try_recv().is_err(), "it told of a request");
    // As it came it is the agent's: what it wants then is over, and gone.
    ask(&head).await;
    assert!(worker.told.recv().unwrap().ends_with("/a"));
}
