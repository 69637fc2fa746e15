//! An origin that echoes what it was sent gives nothing back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use harness::origin::{Origin, Seen};
use http::Response;
use http_body_util::Full;

use super::{HEADER, Scene, get, sent};

/// Says everything back that it was sent, in header and body.
fn echo(seen: &Seen) -> Response<Full<Bytes>> {
    let value = &seen.headers["authorization"];
    let text = value.to_str().unwrap();
    let body = format!("{{\"headers\": {{\"Authorization\": \"{text}\"}}}} {text}");
    Response::builder()
        .header("x-echo", value)
        .body(Full::from(body))
        .unwrap()
}

const SECRET: &str = "s3cr3t-and-long";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_echo_gives_no_credential_back() {
    let origin = Origin::answering(echo).await;
    let scene = Scene::new(&[("token", SECRET)]);
    let bound = format!("{HEADER}\nhosts = [\"api.test:*\"]\nallow_plaintext = true");
    let agent = scene.agent(&format!("{bound}\nscrub_bodies = true"));
    let reply = get(&agent, "acme", &origin, "/").await;
    assert_eq!(reply.status, 200);
    assert_eq!(sent(&origin.seen()[0]), [format!("Bearer {SECRET}")]);
    let stars = "*".repeat(SECRET.len());
    assert!(reply.head.contains(&format!("Bearer {stars}")), "{reply:?}");
    assert_eq!(reply.body.matches(&stars).count(), 2, "{reply:?}");
    assert!(!format!("{reply:?}").contains(SECRET), "{reply:?}");
    assert_eq!(origin.seen()[0].headers["accept-encoding"], "identity");

    // Bodies are searched where that is asked for; without it this test would prove nothing.
    let agent = scene.agent(&bound);
    let reply = get(&agent, "acme", &origin, "/").await;
    assert!(!reply.head.contains(SECRET), "{reply:?}");
    assert!(reply.body.contains(SECRET), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_cannot_be_searched_does_not_pass() {
    let origin = Origin::answering(|_seen| {
        Response::builder()
            .header("content-encoding", "br")
            .body(Full::from("?"))
            .unwrap()
    })
    .await;
    let scene = Scene::new(&[("token", SECRET)]);
    let agent = scene.agent(&format!(
        "{HEADER}\nhosts = [\"api.test:*\"]\nallow_plaintext = true\nscrub_bodies = true"
    ));
    let reply = get(&agent, "acme", &origin, "/").await;
    assert_eq!(reply.status, 502);
    assert_eq!(reply.json()["reason"], "unscrubbable");
}

/// Every output of the agent, for a value that stands in all that it was told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_is_in_nothing_that_the_agent_says() {
    let origin = Origin::answering(echo).await;
    let scene = Scene::new(&[("token", SECRET)]);
    let agent = scene.agent(&format!(
        "{HEADER}\nhosts = [\"api.test:*\"]\nallow_plaintext = true\nscrub_bodies = true"
    ));
    let carried = get(&agent, "acme", &origin, "/").await;
    assert_eq!(carried.status, 200);
    std::fs::write(scene.file("token"), format!("{SECRET}\u{1}")).unwrap();
    let deadline = tokio::time::Instant::now() + harness::DEADLINE;
    let failed = loop {
        let reply = get(&agent, "acme", &origin, "/").await;
        if reply.status != 200 {
            break reply;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "the secret has changed"
        );
    };
    assert_eq!(failed.json()["reason"], "credential_unavailable");
    let log = format!("{:?}", agent.log());
    let said = [
        carried.head,
        carried.body,
        failed.head,
        failed.body,
        log,
        agent.metrics(),
    ];
    for text in said {
        assert!(!text.contains(SECRET), "{text}");
    }
}

/// Says the token back as others write it: in a query, and within Basic.
fn echo_otherwise(seen: &Seen) -> Response<Full<Bytes>> {
    let value = seen.headers["authorization"].to_str().unwrap();
    let token = value.strip_prefix("Bearer ").unwrap();
    let percent = token.replace('/', "%2F").replace('+', "%2B");
    let basic = STANDARD.encode(format!("user:{token}"));
    Response::builder()
        .header("location", format!("/?token={percent}"))
        .header("x-basic", format!("Basic {basic}"))
        .body(Full::from(format!("{percent} {basic}")))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_echo_in_another_writing_gives_no_credential_back() {
    let origin = Origin::answering(echo_otherwise).await;
    let scene = Scene::new(&[("token", "s3cr3t/long+enough")]);
    let agent = scene.agent(&format!(
        "{HEADER}\nhosts = [\"api.test:*\"]\nallow_plaintext = true\nscrub_bodies = true"
    ));
    let reply = get(&agent, "acme", &origin, "/").await;
    assert_eq!(reply.status, 200);
    assert!(reply.head.contains("location: /?token=***"), "{reply:?}");
    // Of base64 each character that is the token's alone.
    let basic = STANDARD.encode("user:s3cr3t/long+enough");
    let inner = &basic[8..basic.len() - 4];
    let told = format!("{reply:?}");
    assert!(!told.contains("s3cr3t"), "{told}");
    assert!(!told.contains(inner), "{told}");
    assert!(!told.contains("long"), "{told}");
}
