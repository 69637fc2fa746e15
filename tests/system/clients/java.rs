use http::Version;

use super::{Stage, expect_told};

/// What Java brings for HTTP, driven by rhino, which needs no compiler.
const CLIENT: &str = "
var http = java.net.http, strings = http.HttpResponse.BodyHandlers;
var client = http.HttpClient.newBuilder()
    .version(http.HttpClient.Version.VERSION)
    .followRedirects(http.HttpClient.Redirect.NORMAL).build();
function ask(uri, body) {
    var request = http.HttpRequest.newBuilder(java.net.URI.create(uri));
    if (body) request.POST(body);
    return client.send(request.build(), strings.ofString());
}
var reply = ask('https://api.test/VERSION');
print(reply.version() + ' ' + reply.statusCode() + ' ' + reply.body().trim());
var publishers = http.HttpRequest.BodyPublishers;
print(ask('https://api.test/sink', publishers.ofString('x'.repeat(1 << 20))).body().trim());
print(ask('https://api.test/redirect').uri());
print(ask('https://api.test/bytes/70000').body().length());
try { ask('https://evil.test/'); } catch (error) { print(error); }
reply = ask('https://api.test:8443/');
print(reply.statusCode() + ' ' + reply.body());
";

const DONE: &str = "1048576\nhttps://api.test/redirected\n70000\n";

#[test]
fn javas_http_client_is_carried_in_both_versions_of_http_and_told() {
    let Some(stage) = Stage::new() else { return };
    for version in ["HTTP_1_1", "HTTP_2"] {
        let program = CLIENT.replace("VERSION)", &format!("{version})"));
        let program = program.replace("test/VERSION", &format!("test/{version}"));
        let ended = stage.client(&["rhino", "-e", &program]).end();
        assert_eq!(ended.code, 0, "{ended:?} {:#?}", stage.host.log());
        let told = format!("{version} 200 hello from api.test/{version}\n{DONE}");
        assert!(ended.stdout.starts_with(&told), "{ended:?}");
        expect_told(&ended, &["ConnectException", "403 ", "no_rule"]);
        let path = format!("/{version}");
        let line = stage
            .host
            .expect_log(&[("kind", "http"), ("url.path", &path)]);
        assert_eq!(line["tenant"], "acme");
        assert_eq!(line["credential"], "token");
        assert_eq!(stage.site.visit(&path).version, Version::HTTP_2);
    }
    stage.expect_denied();
}
