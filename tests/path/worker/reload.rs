//! A module's files change while it runs.

use std::fs;

use super::hosted::{Hosted, PATIENT, in_both_hostings};

in_both_hostings!(
    a_changed_module_is_loaded,
    what_does_not_load_leaves_the_last_good_one,
    what_never_loaded_fails_every_request,
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
