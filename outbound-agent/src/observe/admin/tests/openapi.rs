//! The document says what is served, and nothing else; nothing else is served.

use std::env;

use super::*;
use crate::observe::admin::openapi;

const METHODS: [&str; 7] = ["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS"];

#[test]
fn the_document_is_the_one_in_the_repository() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let document = openapi::text();
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &document).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == document,
        "docs/openapi.json is old; run this test with UPDATE_DOCS=1"
    );
}

/// A path as a client asks for it.
fn asked(path: &str) -> String {
    let path = path.replace("{name}", "acme").replace("{id}", "0199");
    path.replace("{namespace}", "production")
}

#[tokio::test]
async fn the_server_takes_what_the_document_says_and_no_other_method() {
    let bench = Bench::serving();
    let document = bench.get("/v1/openapi.json").await.json();
    assert_eq!(
        document.to_string(),
        serde_json::from_str::<Value>(&openapi::text())
            .unwrap()
            .to_string()
    );
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in METHODS {
            let documented = operations.get(method.to_ascii_lowercase());
            let follow = if path == "/v1/events" {
                "?follow=0"
            } else {
                ""
            };
            let answer = bench.ask(method, &format!("{}{follow}", asked(path))).await;
            match documented {
                None => assert_eq!(answer.status, 405, "{method} {path}"),
                Some(operation) => {
                    let statuses = operation["responses"].as_object().unwrap();
                    let status = answer.status.to_string();
                    assert!(statuses.contains_key(&status), "{method} {path}: {status}");
                }
            }
        }
    }
}

#[tokio::test]
async fn the_metrics_address_has_what_the_document_says_that_it_has() {
    let bench = bench();
    let listener = bind_metrics("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    bench.admin.serve_metrics(listener);
    let document: Value = serde_json::from_str(&openapi::text()).unwrap();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let is_here = operations.get("servers").is_some();
        let stream = TcpStream::connect(address).await.unwrap();
        let status = ask(stream, "PATCH", &asked(path)).await.status;
        assert_eq!(status, if is_here { 405 } else { 404 }, "{path}");
    }
}
