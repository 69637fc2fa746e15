//! Tokens that a server gives out, over the agent's own verified TLS.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use harness::agent::Agent;
use harness::origin::{Origin, Seen};
use harness::tls::Identity;
use http::{Response, StatusCode};
use http_body_util::Full;

use super::{Scene, get, sent, used};

/// A token endpoint that knows one client, checks what RFC 6749 section 4.4 asks of a request, and
/// numbers the tokens that it gives out.
async fn token_server(identity: &Identity, expires_in: &'static str) -> Origin {
    let given = Arc::new(AtomicUsize::new(0));
    Origin::https_answering(identity, &["http/1.1"], move |seen| {
        let (status, body) = grant(seen, &given, expires_in);
        let mut response = Response::new(Full::<Bytes>::from(body));
        *response.status_mut() = status;
        response
    })
    .await
}

fn grant(seen: &Seen, given: &AtomicUsize, expires_in: &str) -> (StatusCode, String) {
    let body = String::from_utf8_lossy(&seen.body).into_owned();
    let by_header = seen.headers.get("authorization");
    // id "a b" and secret "p:w%", each form-encoded (RFC 6749 section 2.3.1).
    let is_client = match by_header {
        Some(value) => *value == "Basic YSUyMGI6cCUzQXclMjU=",
        None => body.ends_with("&client_id=a%20b&client_secret=p%3Aw%25"),
    };
    let is_form = seen.method == "POST"
        && seen.target.path() == "/oauth2/token"
        && seen.headers["content-type"] == "application/x-www-form-urlencoded"
        && body.starts_with("grant_type=client_credentials&scope=read%3A");
    match (is_form, is_client) {
        (true, true) => {
            let number = given.fetch_add(1, Ordering::SeqCst);
            let token =
                format!(r#"{{"access_token":"t0k3n-{number}","token_type":"bearer"{expires_in}}}"#);
            (StatusCode::OK, token)
        }
        (true, false) => (
            StatusCode::UNAUTHORIZED,
            r#"{"error":"invalid_client"}"#.into(),
        ),
        (false, _) => (
            StatusCode::BAD_REQUEST,
            r#"{"error":"invalid_request"}"#.into(),
        ),
    }
}

fn scene(password: &str, server: &Origin, identity: &Identity, more: &str) -> (Scene, Agent) {
    let scene = Scene::new(&[("password", password)]);
    let agent = scene.agent_with(
        &format!("[tls]\nroots = [{:?}]", identity.path()),
        &format!(
            "type = \"oauth2-client-credentials\"\nhosts = [\"api.test:*\"]\nallow_plaintext = true\n\
             token_url = \"https://login.test:{}/oauth2/token\"\nclient_id = \"a b\"\n\
             client_secret = \"file:DIR/password\"\n{more}",
            server.address.port()
        ),
    );
    (scene, agent)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_fetched_once_for_all_who_wait_and_used_until_it_expires() {
    let (identity, origin) = (Identity::new(&["login.test"]), Origin::http().await);
    let server = token_server(&identity, r#","expires_in":3600"#).await;
    let (_scene, agent) = scene("p:w%", &server, &identity, "scope = \"read:all\"");
    let ask = || get(&agent, "acme", &origin, "/");
    let replies = tokio::join!(ask(), ask(), ask(), ask());
    for reply in <[_; 4]>::from(replies) {
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    assert_eq!(get(&agent, "globex", &origin, "/").await.status, 200);
    assert_eq!(server.seen().len(), 1, "both tenants ask for the same");
    for seen in origin.seen() {
        assert_eq!(sent(&seen), ["Bearer t0k3n-0"]);
    }
    agent.expect_metric(&used("injected"), 5.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_share_no_token_that_tells_them_apart() {
    let (identity, origin) = (Identity::new(&["login.test"]), Origin::http().await);
    let server = token_server(&identity, "").await;
    let more = "scope = \"read:{tenant}\"\nclient_auth = \"post\"";
    let (_scene, agent) = scene("p:w%", &server, &identity, more);
    for tenant in ["acme", "globex", "acme"] {
        assert_eq!(get(&agent, tenant, &origin, "/").await.status, 200);
    }
    let seen = origin.seen();
    let tokens: Vec<&str> = seen.iter().map(|seen| sent(seen)[0]).collect();
    assert_eq!(
        tokens,
        ["Bearer t0k3n-0", "Bearer t0k3n-1", "Bearer t0k3n-0"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_has_expired_is_fetched_anew() {
    let (identity, origin) = (Identity::new(&["login.test"]), Origin::http().await);
    let server = token_server(&identity, r#","expires_in":"0""#).await;
    let (_scene, agent) = scene("p:w%", &server, &identity, "scope = \"read:all\"");
    for number in 0..2 {
        assert_eq!(get(&agent, "acme", &origin, "/").await.status, 200);
        let expected = format!("Bearer t0k3n-{number}");
        assert_eq!(sent(&origin.seen()[number]), [&*expected]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_token_nothing_leaves() {
    let (identity, stranger) = (
        Identity::new(&["login.test"]),
        Identity::new(&["login.test"]),
    );
    let origin = Origin::http().await;
    let server = token_server(&identity, "").await;
    let scope = "scope = \"read:all\"";
    for (password, trusted) in [("wrong", &identity), ("p:w%", &stranger)] {
        let (_scene, agent) = scene(password, &server, trusted, scope);
        let reply = get(&agent, "acme", &origin, "/").await;
        assert_eq!(reply.status, 502);
        assert_eq!(reply.json()["reason"], "credential_unavailable");
        agent.expect_metric(&used("failed"), 1.0);
    }
    assert_eq!(origin.connections(), 0);
    let asked = server.seen();
    assert_eq!(
        asked.len(),
        1,
        "a server that is not trusted is told nothing"
    );
}
