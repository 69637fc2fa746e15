use super::{Stage, expect_told};

#[test]
fn wget_is_carried_and_told() {
    let Some(stage) = Stage::new() else { return };
    // Debian's is built with GnuTLS, which no variable tells whom to trust.
    let shell = "exec wget --ca-certificate=$SSL_CERT_FILE --timeout=50 --tries=1 \"$@\"";
    let wget = |more: &[&str]| stage.client(&[&["sh", "-c", shell, "sh"], more].concat());
    let told = wget(&["-q", "-O", "-", "https://api.test/wget"]).output();
    assert_eq!(told, "hello from api.test/wget\n");
    let visit = stage.expect_carried("/wget", "wget");
    assert!(visit.header("user-agent").unwrap().starts_with("Wget/"));

    // What was broken off is fetched from where it ended.
    let part = stage.host.path("part").display().to_string();
    let url = "https://api.test/bytes/5000000";
    wget(&["-q", "-O", &part, url]).output();
    assert_eq!(std::fs::metadata(&part).unwrap().len(), 5_000_000);

    let by_name = wget(&["-O", "-", "https://evil.test/"]).end();
    // 4: a network failure; 8: the server's answer was an error.
    assert_eq!(by_name.code, 4, "{by_name:?}");
    expect_told(&by_name, &["unable to resolve host address", "evil.test"]);
    let by_port = ["-O", "-", "--content-on-error", "https://api.test:8443/"];
    let by_port = wget(&by_port).end();
    assert_eq!(by_port.code, 8, "{by_port:?}");
    expect_told(&by_port, &["403", "no_rule", "acme"]);
    stage.expect_denied();
}
