//! Credentials of every type, as they are written.

use super::*;
use crate::model::jwt::Algorithm;

fn credential(keys: &str) -> Arc<crate::model::credential::Credential> {
    let text = format!(
        "[policies.p]\ncredentials = [\"c\"]\n[credentials.c]\nhosts = [\"a.test\"]\n{keys}\n\
         [[tenants]]\nname = \"t\"\npolicy = \"p\"\ncgroup = \"/t\""
    );
    Arc::clone(&config(&text).tenants[0].tenant.credentials[0])
}

#[track_caller]
fn wrong(keys: &str, expected: &str) {
    let told = problems(&format!("[credentials.c]\nhosts = [\"a.test\"]\n{keys}"));
    assert!(told.contains(expected), "{told}");
}

#[test]
fn a_bearer_is_a_header() {
    let credential = credential("type = \"bearer\"\nsecret = \"env:TOKEN\"");
    let Kind::Header { field, .. } = &credential.kind else {
        panic!("{credential:?}")
    };
    assert_eq!(field.name, "authorization");
    assert_eq!((&*field.wrap.before, &*field.wrap.after), ("Bearer ", ""));
}

#[test]
fn basic_has_a_user() {
    let credential = credential("type = \"basic\"\nusername = \"u\"\nsecret = \"env:TOKEN\"");
    let Kind::Basic { username, .. } = &credential.kind else {
        panic!("{credential:?}")
    };
    assert_eq!(&**username, "u");
    wrong(
        "type = \"basic\"\nusername = \"u:v\"\nsecret = \"env:TOKEN\"",
        "credentials.c.username: \"u:v\" is not accepted; write a user's name without `:`",
    );
}

#[test]
fn a_token_is_described_in_full_and_its_key_is_judged() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    fs::write(&key, "k".repeat(32)).unwrap();
    let key = key.display();
    let credential = credential(&format!(
        "type = \"jwt\"\nkey = \"file:{key}\"\nalgorithm = \"HS256\"\nttl = \"1m\"\n\
         claims = {{ sub = \"{{tenant}}\", n = 1.5, list = [\"{{params.a.b}}\", true] }}"
    ));
    let Kind::Jwt(jwt) = &credential.kind else {
        panic!("{credential:?}")
    };
    assert_eq!((jwt.algorithm, jwt.ttl.as_secs()), (Algorithm::Hs256, 60));
    assert_eq!(jwt.claims.len(), 3);
    wrong(
        &format!("type = \"jwt\"\nkey = \"file:{key}\"\nalgorithm = \"ES256\""),
        "there is no private key in PEM: ES256 needs a P-256 key in PEM",
    );
    for (claims, expected) in [
        ("{ exp = 1 }", "credentials.c.claims.exp: is the agent's"),
        (
            "{ a = [\"{host}\"] }",
            "credentials.c.claims.a[0]: \"{host}\": `{host}` is no place to fill",
        ),
        ("{ a = 1979-05-27 }", "1979-05-27 is no value of a token"),
    ] {
        wrong(
            &format!(
                "type = \"jwt\"\nkey = \"file:{key}\"\nalgorithm = \"HS256\"\nclaims = {claims}"
            ),
            expected,
        );
    }
}

#[test]
fn a_credential_says_its_type() {
    wrong(
        "secret = \"env:TOKEN\"",
        "credentials.c: the key `type` is missing; write \"header\", \"basic\"",
    );
}

fn of(keys: &[(&str, &str)]) -> String {
    let mut all = BTreeMap::from([
        ("type", "\"header\""),
        ("hosts", "[\"api.test\"]"),
        ("secret", "\"env:TOKEN\""),
    ]);
    all.extend(keys.iter().copied());
    let lines: Vec<_> = all
        .iter()
        .map(|(key, value)| format!("{key} = {value}"))
        .collect();
    format!("[credentials.c]\n{}", lines.join("\n"))
}

#[test]
fn a_secret_is_named_and_never_shown() {
    config(&of(&[]));
    for (key, value, expected) in WRONG_CREDENTIALS {
        let told = problems(&of(&[(key, value)]));
        assert!(told.contains(expected), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
}

/// A key, its value, and what is told of it.
const WRONG_CREDENTIALS: [(&str, &str, &str); 20] = [
    (
        "secret",
        "\"cmd:hunter2\"",
        "the value (not shown) is not accepted",
    ),
    (
        "methods",
        "[\"get\"]",
        "credentials.c.methods[0]: \"get\" is not accepted; write a method in capitals",
    ),
    (
        "paths",
        "[\"repos\"]",
        "credentials.c.paths[0]: \"repos\" is not accepted; write a path from `/` on",
    ),
    (
        "ttl",
        "\"5m\"",
        "credentials.c.ttl: unknown key; known here: type, hosts",
    ),
    (
        "secret",
        "\"sk-hunter2\"",
        "credentials.c.secret: the value (not shown) is not accepted",
    ),
    (
        "secret",
        "\"file:hunter2\"",
        "the value (not shown) is not accepted",
    ),
    (
        "secret",
        "[\"hunter2\"]",
        "the value (not shown) is not accepted",
    ),
    (
        "secret",
        "\"env:MISSING\"",
        "\"env:MISSING\": the agent's environment has no such variable",
    ),
    ("secret", "\"env:EMPTY\"", "\"env:EMPTY\": is empty"),
    (
        "secret",
        "\"env:BROKEN\"",
        "\"env:BROKEN\" holds a character that no header can carry",
    ),
    (
        "secret",
        "\"file:/nonexistent/x\"",
        "\"file:/nonexistent/x\": cannot read /nonexistent/x: No such file",
    ),
    (
        "secret",
        "\"credential:x\"",
        "systemd handed over no credentials",
    ),
    (
        "value",
        "\"Bearer hunter2\"",
        "credentials.c.value: the value (not shown) is not accepted",
    ),
    (
        "value",
        "\"{secret}{secret}\"",
        "credentials.c.value: the value (not shown)",
    ),
    (
        "header",
        "\"Content-Length\"",
        "credentials.c.header: \"Content-Length\" is not accepted",
    ),
    (
        "header",
        "\"a b\"",
        "credentials.c.header: \"a b\" is not accepted",
    ),
    (
        "hosts",
        "[\"*\"]",
        "credentials.c.hosts[0]: \"*\": a credential for every host",
    ),
    (
        "hosts",
        "[\"tcp://a.test:1\"]",
        "nothing can be added to tcp",
    ),
    (
        "hosts",
        "[\"http://a.test\"]",
        "plain HTTP needs allow_plaintext = true",
    ),
    (
        "type",
        "\"headers\"",
        "credentials.c.type: \"headers\" is not accepted; write \"header\", \"basic\"",
    ),
];

#[test]
fn a_client_certificate_is_judged_with_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    for name in ["one", "other"] {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::default();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(path(&format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }
    let keys = |certificate: &str, key: &str, more: &str| {
        format!(
            "type = \"mtls\"\ncertificate = \"file:{}\"\nkey = \"file:{}\"\n{more}",
            path(certificate),
            path(key)
        )
    };
    let credential = credential(&keys("one.pem", "one.key", ""));
    assert!(matches!(credential.kind, Kind::Mtls { .. }));
    for (certificate, key, more, expected) in [
        ("one.pem", "other.key", "", "credentials.c.key: \"file:"),
        (
            "one.pem",
            "other.key",
            "",
            "holds a key that is not its certificate's",
        ),
        ("one.pem", "one.pem", "", "holds no private key in PEM"),
        ("one.key", "one.key", "", "holds no certificate in PEM"),
        ("none.pem", "one.key", "", "credentials.c.certificate: "),
        (
            "one.pem",
            "one.key",
            "allow_plaintext = true",
            "credentials.c.allow_plaintext: there is no certificate without TLS",
        ),
    ] {
        wrong(&keys(certificate, key, more), expected);
    }
}
