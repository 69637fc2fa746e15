//! Workers that are modules: what they see, do and may not do.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use harness::eventually;
use harness::origin::Origin;
use http::Response;
use http_body_util::Full;
use outbound_agent::path::worker::host::child;

use super::hosted::{Hosted, PASS, PATIENT, in_both_hostings};

in_both_hostings!(
    a_request_passes_a_module,
    a_module_changes_a_request_by_its_env,
    a_module_may_answer_itself,
    fields_can_be_handed_on_more_than_once,
    the_module_of_the_documents_logs_and_signs,
    an_answer_that_nobody_reads_leaves_its_connection_to_the_next,
    a_body_that_is_not_read_never_enters_the_module,
    an_exception_is_told_to_the_operator_alone,
    tenants_do_not_share_global_state,
    they_do_where_the_service_says_so,
    isolates_are_bounded_and_the_idlest_goes,
    a_cache_keeps_what_it_is_given_until_its_time_is_over,
    what_a_module_does_is_counted,
);

async fn a_request_passes_a_module(hosting: &str) {
    let hosted = Hosted::start(hosting, PASS, PATIENT).await;
    let request = format!(
        "POST /v1?q=1 HTTP/1.1\r\nhost: {}\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello",
        hosted.host("api.example.com")
    );
    let address = hosted.origin.address;
    let reply = hosted.agent.ask("acme", address, &request).await;
    assert_eq!((reply.status, &*reply.body), (200, "hello"), "{reply:?}");
    let seen = hosted.origin.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(
        (&*seen[0].target.to_string(), &*seen[0].body),
        ("/v1?q=1", &b"hello"[..])
    );
    let ours = |name: &http::HeaderName| name.as_str().starts_with("outbound-");
    assert!(!seen[0].headers.keys().any(ours), "{:?}", seen[0].headers);
    let line = hosted.agent.expect_log(&[("worker.outcome", "responded")]);
    assert_eq!(line["worker.name"], "egress");
}

async fn fields_can_be_handed_on_more_than_once(hosting: &str) {
    let module = "export default { async fetch(request, env, ctx) {
        const again = () => fetch(new Request(request.url, { headers: request.headers, redirect: 'manual' }));
        const first = await again();
        ctx.waitUntil(again());
        const { status } = await fetch(request);
        const headers = new Headers(first.headers);
        return new Response(null, { status, headers: new Headers(headers) });
    } }";
    let hosted = Hosted::start(hosting, module, PATIENT).await;
    let request = format!(
        "GET / HTTP/1.1\r\nhost: {}\r\nx-tried: yes\r\nconnection: close\r\n\r\n",
        hosted.host("api.example.com")
    );
    let address = hosted.origin.address;
    let reply = hosted.agent.ask("acme", address, &request).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    eventually("all of them arrive", || {
        (hosted.origin.seen().len() == 3).then_some(())
    });
    for seen in hosted.origin.seen() {
        assert_eq!(seen.headers["x-tried"], "yes");
    }
}

async fn a_module_changes_a_request_by_its_env(hosting: &str) {
    let module = "import { name } from './lib/name.js';
        export default { fetch(request, env) {
            const headers = new Headers(request.headers);
            headers.set(name, `${env.customer_name} ${env.FLAVOUR}`);
            return fetch(new Request(request, { headers }));
        } }";
    let service = format!("vars = {{ FLAVOUR = \"plain\" }}\n{PATIENT}");
    let hosted = Hosted::start(hosting, module, &service).await;
    let library = hosted.directory.path().join("lib");
    fs::create_dir(&library).unwrap();
    fs::write(library.join("name.js"), "export const name = 'x-who'").unwrap();
    // What did not load at first loads when its files change.
    hosted.get_until("/", 200).await;
    assert_eq!(hosted.origin.seen()[0].headers["x-who"], "acme plain");
}

async fn a_module_may_answer_itself(hosting: &str) {
    let module = "export default { fetch(request, env) {
        return new Response(`${request.method} ${env.url}`, { status: 203 });
    } }";
    let hosted = Hosted::start(hosting, module, PATIENT).await;
    let reply = hosted.get("api.example.com", "/a").await;
    let url = format!("GET http://{}/a", hosted.host("api.example.com"));
    assert_eq!((reply.status, &*reply.body), (203, &*url), "{reply:?}");
    assert_eq!(hosted.origin.connections(), 0);
}

async fn the_module_of_the_documents_logs_and_signs(hosting: &str) {
    let logs = Origin::http().await;
    let module = include_str!("../../../outbound-agent/docs/examples/worker.js");
    let service = format!(
        "vars = {{ LOG_URL = \"http://{}/log\" }}\n\
         secrets = {{ SIGNING_KEY = \"file:DIRECTORY/key\" }}\n{PATIENT}",
        logs.address
    );
    let hosted = Hosted::start(hosting, module, &service).await;
    assert_eq!(hosted.get("api.example.com", "/a").await.status, 200);
    assert_eq!(hosted.get("other.test", "/b").await.status, 200);
    let seen = hosted.origin.seen();
    let token = seen[0].headers["authorization"].to_str().unwrap();
    let claims = token.strip_prefix("Bearer ").unwrap().split('.').nth(1);
    let claims = URL_SAFE_NO_PAD.decode(claims.unwrap()).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["sub"], "acme");
    assert_eq!(
        claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(),
        300
    );
    assert!(!seen[1].headers.contains_key("authorization"));
    let told = eventually("both requests are logged", || {
        Some(logs.seen()).filter(|seen| seen.len() == 2)
    });
    let urls = told.iter().map(|seen| {
        let told: serde_json::Value = serde_json::from_slice(&seen.body).unwrap();
        assert_eq!(told["customer_name"], "acme");
        assert_eq!(seen.headers["outbound-worker"], "egress");
        told["original_url"].as_str().unwrap().to_owned()
    });
    let mut urls: Vec<_> = urls.collect();
    urls.sort();
    let expected = [("api.example.com", "/a"), ("other.test", "/b")]
        .map(|(name, path)| format!("http://{}{path}", hosted.host(name)));
    assert_eq!(urls, expected);
}

async fn an_answer_that_nobody_reads_leaves_its_connection_to_the_next(hosting: &str) {
    let module = "export default { async fetch(request, env) {
        await fetch(env.LOG_URL);
        return new Response('told');
    } }";
    for (length, is_kept) in [(13, true), (1 << 20, false)] {
        let body = Bytes::from(vec![b'x'; length]);
        let logs = Origin::answering(move |_seen| Response::new(Full::from(body.clone()))).await;
        let service = format!(
            "vars = {{ LOG_URL = \"http://{}/\" }}\n{PATIENT}",
            logs.address
        );
        let hosted = Hosted::start(hosting, module, &service).await;
        // It is read behind the response: the very next request may come too early.
        let was_used_again = async {
            loop {
                let before = logs.connections();
                assert_eq!(hosted.get("api.example.com", "/").await.body, "told");
                if (before, logs.connections()) == (before.max(1), before) {
                    return true;
                }
                if before > 3 && !is_kept {
                    return false;
                }
            }
        };
        let was_used_again = tokio::time::timeout(harness::DEADLINE, was_used_again).await;
        assert_eq!(was_used_again, Ok(is_kept), "of {length} bytes");
    }
}

async fn a_body_that_is_not_read_never_enters_the_module(hosting: &str) {
    let hosted = Hosted::start(
        hosting,
        PASS,
        "limits = { cpu = \"5s\", memory = \"8MiB\" }",
    )
    .await;
    let body = "x".repeat(64 << 20);
    let request = format!(
        "POST / HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        hosted.host("api.example.com"),
        body.len()
    );
    let address = hosted.origin.address;
    let reply = hosted.agent.ask("acme", address, &request).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(hosted.origin.seen()[0].body.len(), body.len());
}

async fn an_exception_is_told_to_the_operator_alone(hosting: &str) {
    let module = "export default { fetch() { throw new Error('of the operator') } }";
    let hosted = Hosted::start(hosting, module, PATIENT).await;
    let reply = hosted.get("api.example.com", "/").await;
    assert_eq!(reply.status, 500, "{reply:?}");
    assert_eq!(reply.json()["reason"], "worker_exception");
    assert!(
        !format!("{reply:?}").contains("of the operator"),
        "{reply:?}"
    );
    assert_eq!(hosted.origin.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_has_no_rights() {
    let hosted = Hosted::start("process", PASS, PATIENT).await;
    assert_eq!(hosted.get("api.example.com", "/").await.status, 200);
    // Those of the tests beside this one are among them, some not yet at that point.
    eventually("every worker process is confined", || {
        let workers = workers();
        let is_confined = |status: &String| {
            ["NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000"]
                .iter()
                .all(|line| status.lines().any(|known| known == *line))
        };
        (!workers.is_empty() && workers.iter().all(is_confined)).then_some(())
    });
}

/// `/proc/PID/status` of every worker process that this one has started.
fn workers() -> Vec<String> {
    let parent = format!("PPid:\t{}", std::process::id());
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let statuses = processes.filter_map(|process| {
        let command = fs::read_to_string(process.path().join("cmdline")).ok()?;
        let status = fs::read_to_string(process.path().join("status")).ok()?;
        let is_ours = status.lines().any(|line| line == parent);
        (is_ours && command.contains(child::COMMAND)).then_some(status)
    });
    statuses.collect()
}

/// Counts how often it was asked, in its global state.
const COUNTS: &str = "let count = 0;
    export default { fetch: () => new Response(String(++count)) }";

async fn tenants_do_not_share_global_state(hosting: &str) {
    let hosted = Hosted::start(hosting, COUNTS, PATIENT).await;
    for (tenant, count) in [("acme", "1"), ("acme", "2"), ("globex", "1"), ("acme", "3")] {
        let reply = hosted.get_as(tenant, "api.example.com", "/").await;
        assert_eq!(&*reply.body, count, "{tenant}: {reply:?}");
    }
    let isolates = "outbound_worker_isolates{service=\"egress\"}";
    hosted.agent.expect_metric(isolates, 2.0);
}

async fn they_do_where_the_service_says_so(hosting: &str) {
    let service = format!("isolation = \"service\"\n{PATIENT}");
    let hosted = Hosted::start(hosting, COUNTS, &service).await;
    for (tenant, count) in [("acme", "1"), ("globex", "2"), ("initech", "3")] {
        let reply = hosted.get_as(tenant, "api.example.com", "/").await;
        assert_eq!(&*reply.body, count, "{tenant}: {reply:?}");
    }
}

async fn isolates_are_bounded_and_the_idlest_goes(hosting: &str) {
    let service = "limits = { cpu = \"5s\", isolates = 2 }";
    let hosted = Hosted::start(hosting, COUNTS, service).await;
    let asked = [
        ("acme", "1"),
        ("globex", "1"),
        ("acme", "2"),
        ("initech", "1"), // Takes the place of globex.
        ("acme", "3"),
        ("globex", "1"),
    ];
    for (tenant, count) in asked {
        let reply = hosted.get_as(tenant, "api.example.com", "/").await;
        assert_eq!(&*reply.body, count, "{tenant}: {reply:?}");
        let text = hosted.agent.metrics();
        let more = "outbound_worker_isolates{service=\"egress\"} 3";
        assert!(!text.contains(more), "{text}");
    }
}

async fn a_cache_keeps_what_it_is_given_until_its_time_is_over(hosting: &str) {
    let module = "export default { async fetch(request, env) {
        const kept = env.TOKENS.get('token');
        if (kept !== undefined) return new Response(`kept ${kept}`);
        const { pathname } = new URL(request.url);
        env.TOKENS.set('token', 'secret', { ttl: pathname === '/short' ? '1ms' : '1h' });
        return new Response('made');
    } }";
    let service = format!("caches = [\"TOKENS\"]\n{PATIENT}");
    let hosted = Hosted::start(hosting, module, &service).await;
    assert_eq!(hosted.get("api.example.com", "/short").await.body, "made");
    let until_it_is_over = || async { hosted.get("api.example.com", "/").await.body };
    while until_it_is_over().await != "made" {}
    assert_eq!(hosted.get("api.example.com", "/").await.body, "kept secret");
    // Another tenant has its own.
    let reply = hosted.get_as("globex", "api.example.com", "/").await;
    assert_eq!(reply.body, "made");
}

async fn what_a_module_does_is_counted(hosting: &str) {
    let module = "export default { fetch(request) {
        if (request.url.endsWith('/no')) throw new Error('no');
        return fetch(request);
    } }";
    let hosted = Hosted::start(hosting, module, PATIENT).await;
    assert_eq!(hosted.get("api.example.com", "/").await.status, 200);
    assert_eq!(hosted.get("api.example.com", "/no").await.status, 500);
    let metrics = [
        (
            "outbound_worker_calls_total{outcome=\"responded\",service=\"egress\"}",
            1.0,
        ),
        (
            "outbound_worker_calls_total{outcome=\"exception\",service=\"egress\"}",
            1.0,
        ),
        (
            "outbound_worker_duration_seconds_count{service=\"egress\"}",
            2.0,
        ),
        ("outbound_worker_cpu_seconds_count{service=\"egress\"}", 2.0),
        ("outbound_worker_outstanding{service=\"egress\"}", 0.0),
        ("outbound_worker_restarts_total{service=\"egress\"}", 0.0),
    ];
    for (sample, value) in metrics {
        hosted.agent.expect_metric(sample, value);
    }
    let line = hosted.agent.expect_log(&[("worker.outcome", "exception")]);
    assert!(line["worker.duration_ms"].as_f64().is_some(), "{line}");
}
