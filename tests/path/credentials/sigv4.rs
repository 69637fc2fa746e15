//! What leaves is signed, whatever the tenant had signed; who receives it can tell.

use std::io::Write as _;
use std::process::{Command, Stdio};

use harness::agent::Agent;
use harness::origin::{Origin, Seen};
use serde_json::json;

use super::Scene;

/// What a receiver written apart from the agent says of a request.
#[track_caller]
fn verify(seen: &Seen) {
    let headers: Vec<_> = seen
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let request = json!({
        "method": seen.method.as_str(),
        "target": seen.target.to_string(),
        "headers": headers,
        "body": hex(&seen.body),
    });
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/path/credentials/sigv4.py");
    let mut python = Command::new("python3")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = python.stdin.take().unwrap();
    input.write_all(request.to_string().as_bytes()).unwrap();
    drop(input);
    let output = python.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.trim(), "ok", "{request:#}");
}

fn agent(service: &str) -> (Scene, Agent) {
    let key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    let scene = Scene::new(&[
        ("id", "AKIDEXAMPLE"),
        ("key", key),
        ("session", "s3ss10n-t0k3n"),
    ]);
    let agent = scene.agent(&format!(
        "type = \"aws-sigv4\"\nhosts = [\"api.test:*\"]\nallow_plaintext = true\n\
         access_key_id = \"file:DIR/id\"\nsecret_access_key = \"file:DIR/key\"\n\
         session_token = \"file:DIR/session\"\nregion = \"eu-central-1\"\n\
         service = \"{service}\"\nbody_limit = \"64B\""
    ));
    (scene, agent)
}

async fn ask(agent: &Agent, origin: &Origin, line: &str, rest: &str) -> u16 {
    let port = origin.address.port();
    let request =
        format!("{line} HTTP/1.1\r\nhost: api.test:{port}\r\nconnection: close\r\n{rest}");
    agent.ask("acme", origin.address, &request).await.status
}

/// Signed with a key that is none, as a client would that insists on one.
const DUMMY: &str = "authorization: AWS4-HMAC-SHA256 Credential=dummy/20200101/x/y/aws4_request, \
     SignedHeaders=host;range;x-amz-date, Signature=00\r\nx-amz-date: 20200101T000000Z\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_to_s3_is_signed_and_one_that_was_is_signed_anew() {
    let origin = Origin::http().await;
    let (_scene, agent) = agent("s3");
    let hash = "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9";
    let body =
        format!("{DUMMY}x-amz-content-sha256: {hash}\r\ncontent-length: 11\r\n\r\nhello world");
    for (line, rest) in [
        ("GET /a%20b//c%2Bd/~x?list-type=2&prefix=J%2F&empty", "\r\n"),
        ("GET /x", &*format!("{DUMMY}range: bytes=0-9\r\n\r\n")),
        ("PUT /x", &*body),
        ("PUT /x", "content-length: 11\r\n\r\nhello world"),
        (
            "PUT /x",
            "x-amz-content-sha256: UNSIGNED-PAYLOAD\r\ncontent-length: 2\r\n\r\nhi",
        ),
    ] {
        assert_eq!(ask(&agent, &origin, line, rest).await, 200, "{line}");
        let seen = origin.seen();
        let seen = seen.last().unwrap();
        verify(seen);
        assert_eq!(seen.headers["x-amz-security-token"], "s3ss10n-t0k3n");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_wants_a_hash_gets_one() {
    let origin = Origin::http().await;
    let (_scene, agent) = agent("dynamodb");
    let rest = "content-type: application/x-amz-json-1.0\r\nx-amz-target: T.List\r\n\
                transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    assert_eq!(
        ask(&agent, &origin, "POST /a%20b/c?y=2&x=1", rest).await,
        200
    );
    verify(origin.seen().last().unwrap());
    // What cannot be held back cannot be signed, and does not leave.
    let long = format!("content-length: 65\r\n\r\n{}", "x".repeat(65));
    assert_eq!(ask(&agent, &origin, "POST /", &long).await, 502);
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_presigned_url_speaks_for_itself() {
    let origin = Origin::http().await;
    let (_scene, agent) = agent("s3");
    let line = "GET /x?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00";
    assert_eq!(ask(&agent, &origin, line, "\r\n").await, 200);
    assert!(!origin.seen()[0].headers.contains_key("authorization"));
}
