//! A module's files change while it runs, and so does what the configuration says of it.

use std::fs;

use harness::agent::Reply;
use tokio::io::AsyncWriteExt as _;

use super::hosted::{Hosted, PATIENT, in_both_hostings};

in_both_hostings!(
    a_changed_module_is_loaded,
    what_does_not_load_leaves_the_last_good_one,
    what_never_loaded_fails_every_request,
    another_worker_takes_over_and_what_is_under_way_ends_with_the_old_one,
);

const SAYS: &str = "import { text } from './text.js';
    export default { fetch: () => new Response(text) }";

fn write(hosted: &Hosted, name: &str, text: &str) {
    fs::write(hosted.directory.path().join(name), text).unwrap();
}

async fn until_it_says(hosted: &Hosted, text: &str) {
    let until = async { while hosted.get("api.example.com", "/").await.body != text {} };
    let waited = tokio::time::timeout(harness::DEADLINE, until).await;
    waited.unwrap_or_else(|_elapsed| panic!("waited in vain for {text}"));
}

async fn a_changed_module_is_loaded(hosting: &str) {
    let hosted = Hosted::start(hosting, SAYS, PATIENT).await;
    write(&hosted, "text.js", "export const text = 'first'");
    hosted.get_until("/", 200).await;
    until_it_says(&hosted, "first").await;
    write(&hosted, "text.js", "export const text = 'the second'");
    until_it_says(&hosted, "the second").await;
}

async fn what_does_not_load_leaves_the_last_good_one(hosting: &str) {
    let hosted = Hosted::start(hosting, SAYS, PATIENT).await;
    write(&hosted, "text.js", "export const text = 'good'");
    hosted.get_until("/", 200).await;
    for (name, wrong) in [
        ("text.js", "export const text = "),
        ("text.js", "throw new Error('not today')"),
        ("text.js", "export const other = 1"),
    ] {
        write(&hosted, name, wrong);
        for _ in 0..3 {
            let reply = hosted.get("api.example.com", "/").await;
            assert_eq!((reply.status, &*reply.body), (200, "good"), "{reply:?}");
        }
    }
    write(&hosted, "text.js", "export const text = 'better'");
    until_it_says(&hosted, "better").await;
}

async fn what_never_loaded_fails_every_request(hosting: &str) {
    let hosted = Hosted::start(hosting, "export default {", PATIENT).await;
    let failed = hosted.failure("/").await;
    assert_eq!(failed, (503, "worker_unavailable".to_owned()));
    assert_eq!(hosted.origin.connections(), 0);
}

/// Tells the origin that it has begun, and then waits for the rest of its request.
const FIRST: &str = "export default { async fetch(request) {
    await fetch(new URL('/begun', request.url));
    return new Response('first ' + await request.text());
} }";

async fn another_worker_takes_over_and_what_is_under_way_ends_with_the_old_one(hosting: &str) {
    let hosted = Hosted::start(hosting, FIRST, PATIENT).await;
    let mut under_way = hosted.agent.connect("acme", hosted.origin.address).await;
    let host = hosted.host("api.example.com");
    let ask = format!(
        "POST / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: 11\r\n\r\nhello"
    );
    under_way.write_all(ask.as_bytes()).await.unwrap();
    harness::eventually("the worker has begun", || {
        hosted
            .origin
            .seen()
            .iter()
            .any(|seen| seen.target == "/begun")
            .then_some(())
    });
    let second = "export default { fetch: () => new Response('second') }";
    write(&hosted, "second.js", second);
    let other = hosted.config.replace("egress.js", "second.js");
    assert_ne!(other, hosted.config);
    hosted.agent.reload(&other);
    let reply = hosted.get("api.example.com", "/").await;
    assert_eq!((reply.status, &*reply.body), (200, "second"), "{reply:?}");
    under_way.write_all(b" again").await.unwrap();
    let reply = Reply::read(&mut under_way).await;
    assert_eq!(
        (reply.status, &*reply.body),
        (200, "first hello again"),
        "{reply:?}"
    );
    // And back, as if nothing had been.
    hosted.agent.reload(&hosted.config);
    assert_eq!(hosted.get("api.example.com", "/").await.body, "first ");
}
