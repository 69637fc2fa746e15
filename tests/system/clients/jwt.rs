//! Tokens that the agent signs, read by PyJWT.

use std::path::Path;
use std::process::Command;

use harness::agent::Agent;
use harness::origin::Origin;

use super::interpreter;

/// The claims of a token, once it holds: `key algorithm token`. Of a pair the public half verifies.
const VERIFY: &str = r#"
import jwt, sys
from cryptography.hazmat.primitives.serialization import load_pem_private_key
key = open(sys.argv[1], "rb").read()
algorithm, token = sys.argv[2:]
if algorithm != "HS256":
    key = load_pem_private_key(key, None).public_key()
claims = jwt.decode(token, key, algorithms=[algorithm], audience="api",
                    options={"require": ["exp", "iat", "sub"]})
assert jwt.get_unverified_header(token) == {"alg": algorithm, "typ": "JWT", "kid": "k1"}
assert claims["exp"] - claims["iat"] == 300, claims
try:
    jwt.decode(token[:-8] + "AAAAAAAA", key, algorithms=[algorithm], audience="api")
    raise SystemExit("a forged token holds")
except jwt.InvalidSignatureError:
    print(claims["sub"], claims["n"])
"#;

/// A key of OpenSSL's.
fn generate(path: &Path, arguments: &[&str]) {
    let made = Command::new("openssl")
        .args(["genpkey", "-out"])
        .arg(path)
        .args(arguments)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_every_algorithm_hold_for_pyjwt() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    let origin = Origin::http().await;
    let port = origin.address.port();
    for (algorithm, arguments) in [
        ("HS256", &[][..]),
        (
            "RS256",
            &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
        ),
        (
            "ES256",
            &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        ),
        ("EdDSA", &["-algorithm", "ed25519"]),
    ] {
        if arguments.is_empty() {
            std::fs::write(&key, "k".repeat(48)).unwrap();
        } else {
            generate(&key, arguments);
        }
        let agent = Agent::start(&format!(
            r#"
            [resolver]
            hosts = {{ "api.test" = ["127.0.0.1"] }}
            [policies.p]
            allow = ["api.test:*", "127.0.0.0/8:*"]
            credentials = ["c"]
            [credentials.c]
            type = "jwt"
            hosts = ["api.test:*"]
            key = "file:{}"
            algorithm = "{algorithm}"
            key_id = "k1"
            claims = {{ sub = "{{tenant}}", aud = ["api", "other"], n = 7 }}
            allow_plaintext = true
            [[tenants]]
            name = "acme"
            policy = "p"
            cgroup = "/acme"
            "#,
            key.display()
        ));
        let host = format!("api.test:{port}");
        let reply = agent.get("acme", origin.address, &host, "/").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let seen = origin.seen();
        let value = &seen.last().unwrap().headers["authorization"];
        verify(algorithm, &key, value.to_str().unwrap());
    }
}

/// Has an independent library read a token.
fn verify(algorithm: &str, key: &Path, value: &str) {
    let token = value.strip_prefix("Bearer ").unwrap();
    let verified = Command::new(interpreter())
        .args(["-c", VERIFY])
        .arg(key)
        .args([algorithm, token])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&verified.stdout),
        "acme 7\n",
        "{algorithm}: {verified:?}"
    );
}
