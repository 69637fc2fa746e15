//! `outbound worker test`: a module tried without an agent.

use std::fs;
use std::process::{Command, Output};

use harness::host::binary;
use serde_json::Value;
use tempfile::TempDir;

/// Runs it on a module of this source.
fn outbound(module: &str, arguments: &[&str]) -> (Output, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("egress.js"), module).unwrap();
    fs::write(directory.path().join("answer.json"), "{\"a\":1}").unwrap();
    let output = Command::new(binary())
        .args(["worker", "test", "egress.js"])
        .args(arguments)
        .current_dir(directory.path())
        .output()
        .unwrap();
    (output, directory)
}

const GET: [&str; 2] = ["--request", "GET https://api.example.com/v1"];

#[test]
fn the_module_of_the_documents_is_tried_and_what_it_does_is_told() {
    let module = include_str!("../../outbound-agent/docs/examples/worker.js");
    let arguments = [
        "--header",
        "accept: text/plain",
        "--param",
        "customer_name=Acme",
        "--param",
        "url=https://api.example.com/v1",
        "--var",
        "LOG_URL=https://logs.example.net/",
        "--secret",
        "SIGNING_KEY",
        "--fetch-response",
        "https://api.example.com/=203:answer.json",
        "--json",
    ];
    let (output, _directory) = outbound(module, &[&GET[..], &arguments].concat());
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["response"]["status"], 203);
    assert_eq!(report["response"]["body"], "{\"a\":1}");
    let fetches = report["fetches"].as_array().unwrap();
    let url = |url: &str| fetches.iter().find(|fetch| fetch["url"] == url).unwrap();
    let log = url("https://logs.example.net/");
    let logged: Value = serde_json::from_str(log["body"].as_str().unwrap()).unwrap();
    assert_eq!(logged["customer_name"], "Acme");
    let headers = url("https://api.example.com/v1")["headers"].to_string();
    assert!(
        headers.contains("[\"authorization\",\"Bearer ey"),
        "{headers}"
    );
    assert!(headers.contains("[\"accept\",\"text/plain\"]"), "{headers}");
}

#[test]
fn what_a_module_does_is_told_in_words() {
    let module = "export default { async fetch(request, env, ctx) {
        console.warn('it is', env.word);
        ctx.waitUntil(fetch('https://logs.test/', { method: 'PUT', body: 'b' }));
        return new Response('no', { status: 403, headers: { 'x-why': 'so' } });
    } }";
    let (output, _directory) = outbound(module, &[&GET[..], &["--var", "word=so"]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    for line in [
        "console   warn  it is so",
        "fetch     PUT https://logs.test/ -> 200",
        "response  403",
        "          x-why: so",
        "          no",
    ] {
        assert!(text.lines().any(|told| told == line), "{line} in {text}");
    }
    assert!(text.contains("ms on a processor"), "{text}");
}

#[test]
fn what_does_not_load_or_throws_is_placed_and_fails() {
    let cases = [
        ("export default {\n  fetch( {", "egress.js:2:"),
        ("\nnull.x", "egress.js:2:"),
        ("export default { fetch() {\n  null.x } }", "egress.js:2:"),
        ("import './none.js'", "egress.js:1:"),
        (
            "export default { async fetch() { for (;;); } }",
            "the processor time",
        ),
        (
            "export default { fetch: () => fetch('https://a.test/') }",
            "https://a.test/: refused by the test",
        ),
    ];
    for (module, told) in cases {
        let (output, _directory) = outbound(module, &[&GET[..], &["--refuse-fetches"]].concat());
        assert_eq!(output.status.code(), Some(1), "{module}: {output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(told), "{module}: {text}");
    }
}

#[test]
fn wrong_usage_says_what_is_accepted() {
    let module = "export default { fetch: () => new Response() }";
    let (output, _directory) = outbound(module, &["--request", "GET /v1"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("an http or https URL"), "{text}");
    let (output, _directory) = outbound(module, &[]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
