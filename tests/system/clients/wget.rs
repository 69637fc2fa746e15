use super::{Stage, expect_told};

#[test]
fn wget_is_carried_and_told() {
    let Some(stage) = Stage::new() else { return };
    let wget = |more: &[&str]| {
        let options = ["wget", "--no-config", "--timeout=50", "--tries=1"];
        stage.client(&[&options[..], more].concat())
    };
    let told = wget(&["-q", "-O", "-", "https://api.test/wget"]).output();
    assert_eq!(told, "hello from api.test/wget\n");
    let visit = stage.expect_carried("/wget", "wget");
    assert!(visit.header("user-agent").unwrap().starts_with("Wget/"));

    // What was broken off is fetched from where it ended.
    stage.host.write("part", &"o".repeat(1_000_000));
    let part = stage.host.path("part");
    let url = "https://api.test/bytes/5000000";
    wget(&["-q", "--continue", "-O", part.to_str().unwrap(), url]).output();
    assert!(std::fs::read(&part).unwrap() == [b'o'; 5_000_000]);
    let rest = stage.site.visit("/bytes/5000000");
    assert_eq!(rest.header("range"), Some("bytes=1000000-"));

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
