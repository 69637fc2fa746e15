use serde_json::json;

use super::*;

fn values(value: Value) -> Values {
    value.as_object().unwrap().clone()
}

fn namespace(parameters: &[&str], vars: Value) -> Namespace {
    let service = Service {
        name: "egress".into(),
        code: Code::Module("/egress.js".into()),
        vars: values(vars),
        secrets: vec![("KEY".into(), Secret::new(b"hush".to_vec()))],
        caches: Vec::new(),
        limits: Limits {
            cpu: Duration::from_millis(50),
            wall: Duration::from_secs(30),
            memory: 64 << 20,
            concurrency: 256,
            isolates: 16,
        },
        isolation: Isolation::default(),
        hosting: Hosting::default(),
        on_error: OnError::default(),
        trusted: false,
        network: Arc::default(),
    };
    Namespace {
        name: "production".into(),
        binding: "dispatcher".into(),
        outbound: Some(Outbound {
            service: Arc::new(service),
            entrypoint: None,
            parameters: parameters.iter().map(|name| Box::from(*name)).collect(),
        }),
    }
}

fn env(namespace: &Namespace, given: Value) -> Value {
    let (given, outbound) = (namespace.check(values(given)), &namespace.outbound);
    (outbound
        .as_ref()
        .unwrap()
        .env(&given.unwrap(), "https://api.test/v1"))
    .into()
}

#[test]
fn a_dispatch_gives_what_is_declared_and_nothing_else() {
    let namespace = namespace(&["customer", "plan"], json!({}));
    let check = |given| namespace.check(values(given)).map_err(|e| e.to_string());
    assert!(check(json!({"customer": "acme", "plan": 7})).is_ok());
    assert_eq!(
        check(json!({"customer": "acme"})).unwrap_err(),
        "the parameter `plan` is missing; namespace production declares customer, plan"
    );
    assert_eq!(
        check(json!({"customer": "acme", "plan": 7, "plam": 7})).unwrap_err(),
        "the parameter `plam` is not declared; namespace production declares customer, plan"
    );
}

#[test]
fn what_no_header_could_carry_is_refused() {
    let namespace = namespace(&["customer"], json!({}));
    let check = |customer: String| namespace.check(values(json!({ "customer": customer })));
    assert!(check("a".repeat(8_000)).is_ok());
    let told = check("a".repeat(9_000)).unwrap_err().to_string();
    assert_eq!(
        told,
        "the parameters are 9015 octets of JSON in ASCII; 8192 are the most"
    );
    // Six octets each, as they are escaped.
    assert!(check("é".repeat(1_300)).is_ok());
    assert!(check("é".repeat(1_400)).is_err());
}

#[test]
fn a_namespace_without_a_worker_declares_nothing() {
    let bare = Namespace {
        name: "bare".into(),
        binding: "dispatcher".into(),
        outbound: None,
    };
    assert!(bare.check(Values::new()).is_ok());
    let told = bare.check(values(json!({"a": 1}))).unwrap_err().to_string();
    assert!(told.ends_with("namespace bare declares none"), "{told}");
}

#[test]
fn members_of_an_object_are_on_env_where_nothing_else_has_their_name() {
    let namespace = namespace(
        &["params_object", "plan"],
        json!({"LOG": "l", "region": "eu"}),
    );
    let given = json!({
        "params_object": {"customer_name": "acme", "plan": "x", "region": "y", "KEY": "z"},
        "plan": "free",
    });
    let expected = json!({
        "params_object": given["params_object"],
        "customer_name": "acme",
        "plan": "free",
        "region": "eu",
        "LOG": "l",
    });
    assert_eq!(env(&namespace, given), expected);
}

#[test]
fn a_declared_url_that_was_not_given_is_the_requests() {
    let namespace = namespace(&["url"], json!({}));
    assert_eq!(
        env(&namespace, json!({})),
        json!({"url": "https://api.test/v1"})
    );
    assert_eq!(env(&namespace, json!({"url": "u"})), json!({"url": "u"}));
}
