//! Namespaces, services, and what tenants give to them.

use serde_json::json;

use super::*;
use crate::model::worker::{Code, Hosting, Isolation, OnError};

/// As the documentation of the dispatcher's configuration writes it.
const NAMESPACE: &str = r#"
[[dispatch_namespaces]]
binding = "dispatcher"
namespace = "production"
outbound = {service = "egress", parameters = ["params_object"]}
"#;

const SERVICE: &str = "[services.egress]\nmain = \"egress.js\"\n";

fn tenant(rest: &str) -> String {
    format!("[policies.p]\n[[tenants]]\nname = \"a\"\npolicy = \"p\"\ncgroup = \"/a\"\n{rest}\n")
}

fn tenant_of_production(rest: &str) -> String {
    tenant(&format!("namespace = \"production\"\n{rest}"))
}

#[test]
fn a_namespace_is_written_as_wrangler_does() {
    let outbound = "outbound = { params_object = { customer_name = \"acme\", plan = 7 } }";
    let text = format!("{NAMESPACE}{SERVICE}{}", tenant_of_production(outbound));
    let config = config(&text);
    let tenant = &config.tenants[0].tenant;
    let namespace = tenant.namespace.as_ref().unwrap();
    assert_eq!(
        (&*namespace.name, &*namespace.binding),
        ("production", "dispatcher")
    );
    let outbound = namespace.outbound.as_ref().unwrap();
    assert!(Arc::ptr_eq(&outbound.service, &config.services[0]));
    let given = serde_json::Value::from(tenant.parameters.as_ref().unwrap().values().clone());
    assert_eq!(
        given,
        json!({"params_object": {"customer_name": "acme", "plan": 7}})
    );
}

#[test]
fn a_worker_in_the_place_of_none_is_refused_and_so_is_a_service_called_none() {
    let rule = "[[policies.p.rules]]\nname = \"x\"\naction = \"allow\"\nhost = \"a.test\"\n\
                worker = \"egress\"\n";
    let in_namespace = format!("{NAMESPACE}{SERVICE}{}{rule}", tenant_of_production(""));
    config(&in_namespace);
    for (text, told) in [
        (
            format!("{SERVICE}{}{rule}", tenant("")),
            "tenants[0].policy: rule \"x\" of \"p\" has the `worker` egress in place of that of \
             the tenant's namespace; give the tenant a `namespace` with an `outbound` worker",
        ),
        (
            SERVICE.replace("egress]", "none]"),
            "services.none: is what a rule says that wants no worker; give the service another name",
        ),
    ] {
        let problems = problems(&text);
        assert!(problems.contains(told), "{problems}");
    }
}

#[test]
fn what_a_worker_has_to_see_is_not_passed_through() {
    let tenant =
        tenant_of_production("").replace("[policies.p]", "[policies.p]\ntls = \"passthrough\"");
    let text = format!("{NAMESPACE}{SERVICE}{tenant}");
    let told = problems(&text);
    assert!(
        told.contains(
            "tenants[0].policy: \"p\" passes all TLS through (`tls`), so that the worker of"
        ),
        "{told}"
    );
    let free = text.replace("namespace = \"production\"\n\n", "");
    config(&free);
}

#[test]
fn a_service_says_what_it_is_and_may() {
    let text = r#"
[services.egress]
main = "workers/egress.js"
vars = { LOG = "https://logs.test/", ratio = 0.5, nested = { on = true, list = [1, "b"] } }
secrets = { TOKEN = "env:TOKEN" }
isolation = "service"
hosting = "thread"
on_error = "forward"
trusted = true
limits = { cpu = "20ms", wall = "5s", memory = "16MiB", concurrency = 8 }
"#;
    let config = config(text);
    let service = &config.services[0];
    let Code::Module(path) = &service.code else {
        panic!("{:?}", service.code)
    };
    assert_eq!(path, Path::new("workers/egress.js"));
    let vars = serde_json::Value::from(service.vars.clone());
    let nested = json!({"on": true, "list": [1, "b"]});
    assert_eq!(
        vars,
        json!({"LOG": "https://logs.test/", "ratio": 0.5, "nested": nested})
    );
    let (name, secret) = &service.secrets[0];
    assert_eq!((&**name, secret.expose()), ("TOKEN", &b"t0ken"[..]));
    assert_eq!(service.isolation, Isolation::Service);
    assert_eq!(service.hosting, Hosting::Thread);
    assert_eq!(service.on_error, OnError::Forward);
    assert!(service.trusted);
    assert_eq!(service.limits.cpu, Duration::from_millis(20));
    assert_eq!(service.limits.memory, 16 << 20);
    assert_eq!(service.limits.concurrency, 8);
}

#[test]
fn a_module_is_found_beside_the_file_that_names_it() {
    let text = format!("version = 1\n{SERVICE}");
    let config = parse(&text, Path::new("/etc/outbound/conf.d/egress.toml")).unwrap();
    let Code::Module(path) = &config.services[0].code else {
        panic!("no module")
    };
    assert_eq!(path, Path::new("/etc/outbound/conf.d/egress.js"));
}

/// With a namespace and its service before it.
fn all(rest: &str) -> String {
    format!("{NAMESPACE}{SERVICE}{rest}")
}

#[track_caller]
fn all_told(inputs: &[(String, &str)]) {
    for (text, expected) in inputs {
        let told = problems(text);
        assert!(told.contains(expected), "{told}\nlacks {expected}");
        assert!(!told.contains("hush"), "{told}");
    }
}

#[test]
fn what_is_wrong_between_tenants_and_namespaces_is_told() {
    all_told(&[
        (
            all(&tenant("namespace = \"prod\"")),
            "tenants[0].namespace: no namespace is called \"prod\"; did you mean \"production\"?",
        ),
        (
            all(&tenant_of_production("outbound = {}")),
            "tenants[0].outbound: the parameter `params_object` is missing; \
             namespace production declares params_object",
        ),
        (
            all(&tenant_of_production(
                "outbound = { params_object = 1, b = 2 }",
            )),
            "tenants[0].outbound: the parameter `b` is not declared",
        ),
        (
            all(&tenant("outbound = { b = 2 }")),
            "tenants[0].outbound: parameters are declared by a namespace",
        ),
        (
            NAMESPACE.to_owned(),
            "dispatch_namespaces[0].outbound.service: no service is called \"egress\"",
        ),
        (
            format!("{NAMESPACE}{NAMESPACE}{SERVICE}"),
            "dispatch_namespaces[1].namespace: namespace production is already written at",
        ),
    ]);
}

#[test]
fn what_is_wrong_with_a_service_is_told() {
    all_told(&[
        (
            all("vars = { params_object = 1 }"),
            "outbound.parameters[0]: \"params_object\" is a name in `vars` or `secrets`",
        ),
        (
            all("vars = { A = 1 }\nsecrets = { A = \"env:TOKEN\" }"),
            "services.egress.secrets.A: is a name in `vars` as well",
        ),
        (
            all("vars = { A = 1979-05-27 }"),
            "services.egress.vars.A: 1979-05-27",
        ),
        (
            all("secrets = { A = \"hush\" }"),
            "secrets.A: the value (not shown)",
        ),
        (all("secrets = \"hush\""), "secrets: the value (not shown)"),
        (
            all("network = [\"private:10.0.0.1/8\"]"),
            "write private:10.0.0.0/8",
        ),
        (
            all("network = [\"intranet\"]"),
            "services.egress.network[0]: \"intranet\"",
        ),
        (
            all("limits = { cpu_ms = 50 }"),
            "limits.cpu_ms: unknown key; did you mean `cpu`?",
        ),
        (
            all("url = \"http://127.0.0.1:8787\""),
            "there is a `main` and a `url`",
        ),
        (
            all("signing_key = \"env:TOKEN\""),
            "`signing_key` is for a `url`",
        ),
    ]);
}

#[test]
fn a_service_is_a_module_or_a_server() {
    all_told(&[
        (
            "[services.e]\nurl = \"http://127.0.0.1:8787\"".to_owned(),
            "services.e: a `url` needs the key `signing_key`",
        ),
        (
            "[services.e]\nurl = \"https://127.0.0.1/x\"\nsigning_key = \"env:TOKEN\"".to_owned(),
            "services.e.url: \"https://127.0.0.1/x\" is not accepted",
        ),
        (
            "[services.e]".to_owned(),
            "services.e: write the key `main` or the key `url`",
        ),
        (
            "[services.e]\nmain = \"e.wasm\"".to_owned(),
            "services.e.main: \"e.wasm\"",
        ),
        (
            NAMESPACE.replace("\"egress\",", "\"e\", entrypoint = \"Outbound\",")
                + "[services.e]\nurl = \"http://127.0.0.1:1\"\nsigning_key = \"env:TOKEN\"",
            "outbound.entrypoint: service e has a `url`, and so no exports",
        ),
        (
            all("").replace("parameters = [", "parameters = [\"params_object\", "),
            "outbound.parameters[1]: \"params_object\" is declared already",
        ),
    ]);
}

#[test]
fn a_tenant_without_parameters_waits_for_a_dispatch() {
    let text = format!("{NAMESPACE}{SERVICE}{}", tenant_of_production(""));
    assert!(config(&text).tenants[0].tenant.parameters.is_none());
    let text = text.replace("[\"params_object\"]", "[]");
    assert!(config(&text).tenants[0].tenant.parameters.is_some());
}
