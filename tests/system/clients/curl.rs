use http::Version;

use super::{Stage, expect_told};

const CURL: [&str; 4] = ["curl", "-sS", "--max-time", "50"];

#[test]
fn curl_is_carried_in_each_version_of_http() {
    let Some(stage) = Stage::new() else { return };
    for (option, version, at_the_site) in [
        ("--http2", "2", Version::HTTP_2),
        ("--http1.1", "1.1", Version::HTTP_2),
        ("--http1.0", "1", Version::HTTP_2),
        ("--http2-prior-knowledge", "2", Version::HTTP_2),
    ] {
        let path = format!("/{}", option.trim_start_matches('-'));
        let url = format!("https://api.test{path}");
        let written = ["-w", "%{http_version} %{http_code}", option, &url];
        let told = stage.client(&[&CURL[..], &written].concat()).output();
        assert_eq!(told, format!("hello from api.test{path}\n{version} 200"));
        let visit = stage.expect_carried(&path, "curl");
        assert_eq!(visit.version, at_the_site);
    }
}

#[test]
fn curl_is_carried_without_tls_in_each_version_of_http() {
    let Some(stage) = Stage::new() else { return };
    for (option, version) in [
        ("--http1.1", "1.1"),
        ("--http1.0", "1"),
        ("--http2", "1.1"),
        ("--http2-prior-knowledge", "2"),
    ] {
        let path = format!("/{}", option.trim_start_matches('-'));
        let url = format!("http://bulk.test{path}");
        let written = ["-w", "%{http_version} %{http_code}", option, &url];
        let told = stage.client(&[&CURL[..], &written].concat()).output();
        assert_eq!(told, format!("hello from bulk.test{path}\n{version} 200"));
        let line = stage.host.expect_log(&[("url.path", &path)]);
        assert_eq!(line["url.scheme"], "http");
        assert_eq!(line["tenant"], "acme");
        assert!(!stage.site.visit(&path).is_secure);
    }
}

#[test]
fn curl_uploads_large_bodies_having_asked_whether_it_may() {
    let Some(stage) = Stage::new() else { return };
    let length = 8 << 20;
    stage.host.write("body", &"b".repeat(length));
    let body = format!("@{}", stage.host.path("body").display());
    for version in ["--http1.1", "--http2"] {
        let url = "https://api.test/sink";
        let upload = [version, "-v", "-H", "Expect: 100-continue"];
        let body = ["--data-binary", &body, url];
        let ended = stage.client(&[&CURL[..], &upload, &body].concat()).end();
        assert_eq!(ended.stdout, format!("{length}\n"), "{ended:?}");
        let is_asked = ended.stderr.contains("< HTTP/1.1 100 Continue");
        assert_eq!(is_asked, version == "--http1.1", "{}", ended.stderr);
    }
    let line = stage
        .host
        .expect_log(&[("bytes.sent", &length.to_string())]);
    assert_eq!(line["url.path"], "/sink");
    // Of unknown length.
    let shell = format!(
        "head -c {length} /dev/zero | curl -sS --max-time 50 --http1.1 -T - https://api.test/sink"
    );
    let told = stage.client(&["sh", "-c", &shell]).output();
    assert_eq!(told, format!("{length}\n"));
}

#[test]
fn curl_downloads_in_whole_and_in_part() {
    let Some(stage) = Stage::new() else { return };
    for version in ["--http1.1", "--http2"] {
        for (range, status, length) in [
            (None, 200, 64 << 20),
            (Some("1000-1999"), 206, 1000),
            (Some("0-0"), 206, 1),
        ] {
            let url = format!("https://api.test/bytes/{}", 64 << 20);
            let mut words = [&CURL[..], &[version, "-o", "/dev/null"]].concat();
            words.extend(["-w", "%{http_code} %{size_download}"]);
            words.extend(range.map_or(vec![], |range| vec!["--range", range]));
            words.push(&url);
            let told = stage.client(&words).output();
            assert_eq!(told, format!("{status} {length}"), "{version} {range:?}");
        }
    }
}

#[test]
fn curl_says_what_is_denied() {
    let Some(stage) = Stage::new() else { return };
    for version in ["--http1.1", "--http2"] {
        let curl = |more: &[&str]| stage.client(&[&CURL[..], &[version], more].concat()).end();
        let by_name = curl(&["https://evil.test/"]);
        // 6: the name was not found.
        assert_eq!(by_name.code, 6, "{by_name:?}");
        expect_told(&by_name, &["Could not resolve host: evil.test"]);
        // Whoever knows the address gets no further, and is told why.
        let addressed = ["--resolve", "evil.test:443:203.0.113.10"];
        let by_rule = curl(&[&addressed[..], &["https://evil.test/"]].concat());
        expect_told(&by_rule, &["rule_deny", "deny evil.test", "acme"]);
        let by_port = curl(&["-i", "https://api.test:8443/"]);
        assert_eq!(by_port.code, 0, "{by_port:?}");
        expect_told(&by_port, &[" 403", "no_rule", "acme"]);
        let failing = curl(&["--fail", "https://api.test:8443/"]);
        // 22: an HTTP error.
        assert_eq!(failing.code, 22, "{failing:?}");
    }
    stage.expect_denied();
    assert!(stage.site.visits().is_empty());
}
