use harness::host::{Host, Invocation, binary};
use serde_json::{Value, json};

use super::{Asker, host, listed, origin};

/// `outbound run` of a tenant with a curl that asks, and parameters.
fn run(host: &Host, tenant: &str, parameters: &[&str]) -> Invocation {
    let before = [&["run", "--tenant", tenant], parameters, &["--"]].concat();
    let resolve = ["--resolve", "*:80:203.0.113.10"];
    let curl = ["curl", "-sS", "--max-time", "50", "http://api.example.com/"];
    host.outbound(&[&before[..], &curl, &resolve].concat())
}

#[test]
fn a_command_is_dispatched_with_what_the_command_line_says() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    let _agent = host.agent();
    let told = |parameters: &[&str]| {
        let told = run(&host, "acme", parameters).output();
        serde_json::from_str::<Value>(&told).unwrap()
    };
    let said = told(&[
        "--param",
        "plan=7",
        "--param",
        "params_object.customer_name=acme",
    ]);
    assert_eq!(
        said,
        json!({ "plan": 7, "of": { "customer_name": "acme" } })
    );
    // It ends with the command.
    assert_eq!(listed(&host), Vec::<Value>::new());
    let params = host.path("params.json").display().to_string();
    host.write(
        "params.json",
        r#"{"plan": "free", "params_object": {"a": 1}}"#,
    );
    let said = told(&["--params-json", &params, "--param", "params_object.b=[2]"]);
    assert_eq!(said, json!({ "plan": "free", "of": { "a": 1, "b": [2] } }));
}

#[test]
fn a_command_with_parameters_that_nobody_declares_does_not_run() {
    let Some(host) = host() else { return };
    let origin = origin(&host);
    let _agent = host.agent();
    let declared = "namespace production declares plan, params_object";
    for (tenant, parameters, words) in [
        (
            "acme",
            &["--param", "plan=7"][..],
            format!("the parameter `params_object` is missing; {declared}"),
        ),
        (
            "acme",
            &[
                "--param",
                "plan=7",
                "--param",
                "params_object={}",
                "--param",
                "plam=7",
            ],
            format!("the parameter `plam` is not declared; {declared}"),
        ),
        (
            "acme",
            &["--param", "plan"],
            "--param plan: write NAME=VALUE".to_owned(),
        ),
        (
            "free",
            &["--param", "plan=7"],
            "tenant free is in no dispatch namespace".to_owned(),
        ),
    ] {
        let ended = run(&host, tenant, parameters).end();
        assert_eq!((ended.code, &*ended.stdout), (1, ""), "{ended:?}");
        assert!(ended.stderr.contains(&words), "{ended:?}");
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn what_runs_already_is_assigned_with_parameters() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    let _agent = host.agent();
    let cgroup = host.cgroup("beside");
    let asker = Asker::start(&host, &cgroup);
    let pid = asker.running.pid().to_string();
    let assign = ["assign", "--tenant", "acme", "--pid", &pid];
    let parameters = ["--param", "plan=late", "--param", "params_object={}"];
    let said = host.outbound(&[&assign[..], &parameters].concat()).output();
    let [dispatch] = &listed(&host)[..] else {
        panic!("{:?}", listed(&host))
    };
    let id = dispatch["id"].as_str().unwrap();
    assert!(
        said.contains(&format!("is tenant acme's by dispatch {id}")),
        "{said}"
    );
    assert_eq!(asker.plan(), "late");
    // Off the tenant, it is off the dispatch.
    host.outbound(&["unassign", cgroup.to_str().unwrap()])
        .output();
    assert_eq!(listed(&host), Vec::<Value>::new());
}

#[test]
fn a_wrangler_file_is_imported_and_checked() {
    let Some(host) = Host::new() else { return };
    let file = r#"{
  // As Wrangler's documentation has it.
  "name": "dispatcher",
  "dispatch_namespaces": [
    {
      "binding": "dispatcher",
      "namespace": "production",
      "outbound": { "service": "egress", "parameters": ["params_object"] },
    },
  ],
}"#;
    host.write("wrangler.jsonc", file);
    let wrangler = host.path("wrangler.jsonc").display().to_string();
    let ended = host.outbound(&["import", &wrangler]).end();
    assert_eq!(ended.code, 0, "{ended:?}");
    let place = format!("outbound: not imported: {wrangler}:8:21: ");
    assert!(ended.stderr.contains(&place), "{ended:?}");
    host.write("imported.toml", &ended.stdout);
    let imported = host.path("imported.toml").display().to_string();
    let checked = host.program(&binary(), &["check", "--config", &imported]);
    assert_eq!(checked.end().code, 0, "{}", ended.stdout);
}
