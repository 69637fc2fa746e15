use serde_json::{Value, json};

use super::{host, origin};

/// Two classes; the default export is not asked.
const CLASSES: &str = "import { WorkerEntrypoint } from 'cloudflare:workers';
export class Out extends WorkerEntrypoint {
    async fetch(request) {
        const headers = new Headers(request.headers);
        headers.set('x-plan', `${this.env.plan}`);
        this.ctx.waitUntil(Promise.resolve());
        const reply = await fetch(new Request(request, { headers }));
        return new Response(`${this.constructor.name}: ${await reply.text()}`, reply);
    }
}
export class Other extends WorkerEntrypoint {
    fetch() { return new Response('other'); }
}
export default { fetch() { return new Response('default'); } };";

#[test]
fn a_namespace_may_name_the_class_that_its_requests_go_to() {
    let Some(host) = host() else { return };
    let origin = origin(&host);
    host.write("conf.d/egress/worker.js", CLASSES);
    let bound = std::fs::read_to_string(host.path("conf.d/dispatch.toml")).unwrap();
    let bind = |entrypoint: &str| {
        let bound = bound.replace("\"egress\",", &format!("\"egress\", {entrypoint}"));
        host.configure("dispatch", &bound);
        let _agent = host.agent();
        let parameters = ["--param", "plan=pro", "--param", "params_object={}"];
        let run = [&["run", "--tenant", "acme"][..], &parameters].concat();
        let curl = [
            "--",
            "curl",
            "-sS",
            "--max-time",
            "50",
            "http://api.example.com/",
        ];
        let resolve = ["--resolve", "*:80:203.0.113.10"];
        host.outbound(&[&run[..], &curl, &resolve].concat())
            .output()
    };
    assert_eq!(
        bind("entrypoint = \"Out\","),
        "Out: hello from api.example.com/\n"
    );
    assert_eq!(origin.requests()[0].header("x-plan"), Some("pro"));
    assert_eq!(bind("entrypoint = \"Other\","), "other");
    assert_eq!(bind(""), "default");
    let missing: Value = serde_json::from_str(&bind("entrypoint = \"Nobody\",")).unwrap();
    assert!(
        [json!("worker_unavailable"), json!("worker_exception")].contains(&missing["reason"]),
        "{missing}"
    );
    assert_eq!(origin.requests().len(), 1);
}
