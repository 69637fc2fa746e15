//! A tenant takes what it may, and nobody else has less for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::agent::{Agent, Reply};
use harness::origin::Origin;
use harness::{DEADLINE, eventually, spawn};
use http::Response;
use http_body_util::Full;
use outbound_agent::model::tenant::CgroupId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// `acme` has these limits, `globex` none.
fn config(limits: &str) -> String {
    format!(
        r#"
        [resolver]
        hosts = {{ "api.test" = ["127.0.0.1"] }}
        [policies.p]
        allow = ["api.test:*", "127.0.0.0/8:*", "tcp://127.0.0.0/8:*"]
        [[tenants]]
        name = "acme"
        policy = "p"
        cgroup = "/acme"
        limits = {{ {limits} }}
        [[tenants]]
        name = "globex"
        policy = "p"
        cgroup = "/globex"
        "#
    )
}

async fn get(agent: &Agent, tenant: &str, origin: &Origin) -> Reply {
    let host = format!("api.test:{}", origin.address.port());
    agent.get(tenant, origin.address, &host, "/").await
}

/// As [`get`] of `acme`, which the agent may reset before anything was said.
async fn try_get(agent: &Agent, address: SocketAddr) -> Reply {
    let acme = Some(CgroupId(1));
    let nothing = Reply {
        status: 0,
        head: String::new(),
        body: String::new(),
    };
    let Ok(mut stream) = agent.connect_as(acme, address).await else {
        return nothing;
    };
    let port = address.port();
    let request = format!("GET / HTTP/1.1\r\nhost: api.test:{port}\r\nconnection: close\r\n\r\n");
    match stream.write_all(request.as_bytes()).await {
        Ok(()) => Reply::read(&mut stream).await,
        Err(_reset) => nothing,
    }
}

async fn post(agent: &Agent, origin: &Origin, rest: &str) -> Reply {
    let host = format!("api.test:{}", origin.address.port());
    let request = format!("POST / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{rest}");
    agent.ask("acme", origin.address, &request).await
}

#[track_caller]
fn expect_limited(reply: &Reply, status: u16, reason: &str) {
    assert_eq!(reply.status, status, "{reply:?}");
    assert_eq!(reply.json()["reason"], reason);
}

#[track_caller]
fn retry_after(reply: &Reply) -> u64 {
    let head = reply.head.to_ascii_lowercase();
    let mut lines = head.lines();
    let value = lines.find_map(|line| line.strip_prefix("retry-after: "));
    value.expect("it says when to come again").parse().unwrap()
}

fn denials(reason: &str) -> String {
    format!("outbound_denials_total{{reason=\"{reason}\",tenant=\"acme\"}}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_limit_are_reset_and_others_are_not() {
    let origin = Origin::http().await;
    let agent = Agent::start(&config("connections = 1"));
    let first = agent.connect("acme", origin.address).await;
    // The first is the agent's once it has begun to answer.
    let mut first = first;
    first
        .write_all(b"GET / HTTP/1.1\r\nhost: api.test\r\n")
        .await
        .unwrap();
    agent.expect_metric("outbound_connections_opened_total{tenant=\"acme\"}", 1.0);
    let reply = try_get(&agent, origin.address).await;
    assert_eq!(reply.status, 0, "no answer, but a reset: {reply:?}");
    agent.expect_log(&[("reason", "tenant_connections"), ("outcome", "refused")]);
    agent.expect_metric(&denials("tenant_connections"), 1.0);
    assert_eq!(get(&agent, "globex", &origin).await.status, 200);
    drop(first);
    let deadline = Instant::now() + DEADLINE;
    while try_get(&agent, origin.address).await.status != 200 {
        assert!(Instant::now() < deadline, "the place is free again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_beyond_the_rate_are_told_when_to_come_again() {
    let origin = Origin::http().await;
    // One a minute would be slower than any test, yet a second is the unit: a burst of two.
    let agent = Agent::start(&config("requests_per_second = 1, requests_burst = 2"));
    let mut limited = None;
    for _ in 0..50 {
        let reply = get(&agent, "acme", &origin).await;
        if reply.status != 200 {
            limited = Some(reply);
            break;
        }
    }
    let limited = limited.expect("fifty requests take less than forty-eight seconds");
    expect_limited(&limited, 429, "request_rate");
    assert_eq!(retry_after(&limited), 1);
    agent.expect_log(&[("reason", "request_rate"), ("outcome", "refused")]);
    agent.expect_metric(&denials("request_rate"), 1.0);
    assert_eq!(get(&agent, "globex", &origin).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_at_once_are_counted_over_all_connections() {
    let silent = Origin::raw(|mut stream| async move {
        // Never answers.
        drop(stream.read_to_end(&mut Vec::new()).await);
    })
    .await;
    let origin = Origin::http().await;
    let agent = Agent::start(&config("requests = 1"));
    let mut waiting = agent.connect("acme", silent.address).await;
    let request = format!(
        "GET / HTTP/1.1\r\nhost: api.test:{}\r\n\r\n",
        silent.address.port()
    );
    waiting.write_all(request.as_bytes()).await.unwrap();
    // Asked before, this one would take the place of the first.
    eventually("the first to be under way", || {
        (silent.connections() == 1).then_some(())
    });
    let over = get(&agent, "acme", &origin).await;
    expect_limited(&over, 429, "tenant_requests");
    assert_eq!(get(&agent, "globex", &origin).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_does_not_pass() {
    let origin = Origin::answering(|_seen| Response::new(Full::from("x".repeat(1000)))).await;
    let agent = Agent::start(&config(
        "request_body = \"10B\", response_body = \"999B\", request_header = \"200B\"",
    ));
    let reply = post(&agent, &origin, "content-length: 11\r\n\r\nhello world").await;
    expect_limited(&reply, 413, "body_too_large");
    let chunked = "transfer-encoding: chunked\r\n\r\n6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n";
    let reply = post(&agent, &origin, chunked).await;
    expect_limited(&reply, 413, "body_too_large");
    let long = format!("x-long: {}\r\n\r\n", "x".repeat(200));
    expect_limited(&post(&agent, &origin, &long).await, 431, "header_too_large");
    let seen = origin.seen();
    assert!(seen.iter().all(|seen| seen.body.len() < 11), "{seen:?}");

    let reply = post(&agent, &origin, "content-length: 5\r\n\r\nhello").await;
    assert!(reply.body.len() < 1000, "{reply:?}");
    agent.expect_log(&[("reason", "response_too_large"), ("outcome", "refused")]);
    agent.expect_metric(&denials("body_too_large"), 2.0);
    assert_eq!(get(&agent, "globex", &origin).await.body.len(), 1000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lasts_too_long_is_ended() {
    let silent = Origin::raw(|mut stream| async move {
        drop(stream.read_to_end(&mut Vec::new()).await);
    })
    .await;
    let agent = Agent::start(&config("request_duration = \"50ms\""));
    let reply = get(&agent, "acme", &silent).await;
    expect_limited(&reply, 504, "too_long");
    agent.expect_log(&[("reason", "too_long"), ("outcome", "timed_out")]);

    let agent = Agent::start(&config("connection_duration = \"50ms\""));
    let mut stream = agent.connect("acme", silent.address).await;
    // Ends without a word of ours.
    drop(stream.read_to_end(&mut Vec::new()).await);
    agent.expect_log(&[("reason", "too_long"), ("outcome", "timed_out")]);
}

/// Two seconds' worth: the second of them has to be waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_beyond_the_rate_wait_and_all_of_them_come() {
    let origin = Origin::answering(|_seen| Response::new(Full::from("x".repeat(128 << 10)))).await;
    let agent = Agent::start(&config("received_per_second = \"64KiB\""));
    let began = Instant::now();
    let reply = get(&agent, "acme", &origin).await;
    assert_eq!(reply.body.len(), 128 << 10);
    // The bucket gives one second's worth at once. The last piece need not be waited for.
    assert_eq!(get(&agent, "acme", &origin).await.status, 200);
    assert!(
        began.elapsed() > Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_that_is_used_up_stays_so_over_a_restart() {
    let origin = Origin::http().await;
    let config = config("requests_per_month = 2, bytes_per_month = \"1GiB\"");
    let agent = Agent::start(&config);
    for _ in 0..2 {
        assert_eq!(get(&agent, "acme", &origin).await.status, 200);
    }
    let (_drained, state) = agent.stop_for_now(DEADLINE).await;
    let agent = Agent::start_again(state, &config);
    let reply = get(&agent, "acme", &origin).await;
    expect_limited(&reply, 429, "quota");
    assert!(retry_after(&reply) <= 31 * 24 * 3600 + 1);
    agent.expect_metric(&denials("quota"), 1.0);
    assert_eq!(get(&agent, "globex", &origin).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_ends_when_the_quota_is_used_up() {
    let talker = Origin::raw(|mut stream| async move {
        let piece = [0; 4096];
        while stream.write_all(&piece).await.is_ok() {}
    })
    .await;
    let agent = Agent::start(&config("bytes_per_day = \"64KiB\""));
    let mut stream = agent.connect("acme", talker.address).await;
    // Says something that is neither HTTP nor TLS.
    stream.write_all(b"\0\0\0\0").await.unwrap();
    let mut read = Vec::new();
    drop(stream.read_to_end(&mut read).await);
    assert!(read.len() <= 256 << 10, "{}", read.len());
    agent.expect_log(&[("reason", "quota"), ("outcome", "refused")]);
}

/// The median of a few, so that one that the machine held up does not count.
async fn latency(agent: &Agent, origin: &Origin) -> Duration {
    let mut taken = Vec::new();
    for _ in 0..21 {
        let began = Instant::now();
        assert_eq!(get(agent, "globex", origin).await.status, 200);
        taken.push(began.elapsed());
    }
    taken.sort();
    taken[taken.len() / 2]
}

/// Alone and beside the other in turns, so that what else the machine does meets both. Whoever
/// floods shares two threads with the agent and the one who is measured: it takes its part.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_at_its_limit_does_not_slow_another() {
    const FACTOR: f64 = 8.0;
    let origin = Origin::http().await;
    let agent = Agent::start(&config("requests_per_second = 10, connections = 1"));
    let agent = Arc::new(agent);
    let (mut alone, mut beside) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..5 {
        alone += latency(&agent, &origin).await;
        let floods: Vec<_> = (0..2)
            .map(|_| {
                let (agent, address) = (Arc::clone(&agent), origin.address);
                spawn(async move {
                    loop {
                        drop(try_get(&agent, address).await);
                    }
                })
            })
            .collect();
        beside += latency(&agent, &origin).await;
        for flood in floods {
            flood.abort();
        }
    }
    let refused = agent
        .log()
        .iter()
        .any(|line| line["reason"] == "tenant_connections");
    assert!(refused, "the other was at its limit");
    let ratio = beside.as_secs_f64() / alone.as_secs_f64();
    println!("latency beside a flood, over latency alone: {ratio:.2}");
    assert!(ratio < FACTOR, "{beside:?} is {ratio} times {alone:?}");
}
