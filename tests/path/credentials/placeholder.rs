//! The tenant holds a text that is worth nothing; the origin sees the secret in its place.

use harness::agent::Agent;
use harness::origin::Origin;

use super::{Scene, used};

const DUMMY: &str = "DUMMY-TOKEN";

fn agent(scene: &Scene, more: &str) -> Agent {
    scene.agent(&format!(
        "type = \"placeholder\"\nplaceholder = \"{DUMMY}\"\nsecret = \"file:DIR/token\"\n\
         hosts = [\"api.test:*\"]\nallow_plaintext = true\n{more}"
    ))
}

async fn post(agent: &Agent, origin: &Origin, rest: &str) {
    let port = origin.address.port();
    let request = format!(
        "POST /?key={DUMMY} HTTP/1.1\r\nhost: api.test:{port}\r\nconnection: close\r\n{rest}"
    );
    let reply = agent.ask("acme", origin.address, &request).await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_placeholder_is_swapped_where_it_may_be() {
    let origin = Origin::http().await;
    let scene = Scene::new(&[("token", "s3cr3t&long")]);
    let in_headers = agent(&scene, "");
    let body = format!("content-length: 11\r\nx-key: {DUMMY}\r\n\r\n{DUMMY}");
    post(&in_headers, &origin, &body).await;
    let everywhere = agent(
        &scene,
        "in_query = true\nin_body = true\nbody_limit = \"64B\"",
    );
    post(&everywhere, &origin, &body).await;
    let seen = origin.seen();
    assert_eq!(seen[0].headers["x-key"], "s3cr3t&long");
    assert_eq!(seen[0].target.query(), Some("key=DUMMY-TOKEN"));
    assert_eq!(seen[0].body, DUMMY);
    assert_eq!(seen[1].target.query(), Some("key=s3cr3t%26long"));
    assert_eq!(seen[1].body, "s3cr3t&long");
    assert_eq!(seen[1].headers["content-length"], "11");
    in_headers.expect_metric(&used("injected"), 1.0);

    // The new length is told.
    let form = format!(
        "content-type: application/x-www-form-urlencoded\r\ncontent-length: 13\r\n\r\nk={DUMMY}"
    );
    post(&everywhere, &origin, &form).await;
    // In chunks, across them.
    let chunked = "transfer-encoding: chunked\r\n\r\n5\r\nDUMMY\r\n8\r\n-TOKEN--\r\n0\r\n\r\n";
    post(&everywhere, &origin, chunked).await;
    // Too long to be held back: it passes as it is.
    let long = format!("content-length: 75\r\n\r\n{}{DUMMY}", "x".repeat(64));
    post(&everywhere, &origin, &long).await;
    let seen = origin.seen();
    assert_eq!(seen[2].body, "k=s3cr3t%26long");
    assert_eq!(seen[2].headers["content-length"], "15");
    assert_eq!(seen[3].body, "s3cr3t&long--");
    assert!(
        seen[4].body.ends_with(DUMMY.as_bytes()),
        "{:?}",
        seen[4].body
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_without_the_placeholder_is_sent_as_it_is() {
    let origin = Origin::http().await;
    let scene = Scene::new(&[("token", "s3cr3t&long")]);
    let agent = agent(&scene, "");
    post(&agent, &origin, "\r\n").await;
    agent.expect_metric(&used("skipped"), 1.0);
    assert_eq!(origin.seen()[0].target.query(), Some("key=DUMMY-TOKEN"));
}
