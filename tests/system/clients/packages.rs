use std::fs;

use super::{SECRET, client, expect_logged, expect_told, host, interpreter, origin};

/// Files of its directory, behind HTTP/1.1 and TLS; a path that ends in `/` is its `index.html`.
const ORIGIN: &str = "
import functools, http.server, ssl, sys
class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        print(self.path, self.headers.get('authorization'))
        super().do_GET()
    def log_message(self, *ignored):
        pass
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1] + '/origin.pem', sys.argv[1] + '/origin.key')
handler = functools.partial(Handler, directory=sys.argv[1] + '/index')
server = http.server.ThreadingHTTPServer(('203.0.113.10', 443), handler)
server.socket = context.wrap_socket(server.socket, server_side=True)
print('listening')
server.serve_forever()
";

#[test]
fn pip_installs_from_an_index_that_asks_for_a_credential() {
    let Some(host) = host() else { return };
    fs::create_dir_all(host.path("index/simple/carried")).unwrap();
    // The least that is a wheel.
    let program = "
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'w') as wheel:
    wheel.writestr('carried.py', 'WORD = \"carried\"\\n')
    metadata = 'Metadata-Version: 2.1\\nName: carried\\nVersion: 1\\n'
    wheel.writestr('carried-1.dist-info/METADATA', metadata)
    tag = 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n'
    wheel.writestr('carried-1.dist-info/WHEEL', tag)
    wheel.writestr('carried-1.dist-info/RECORD', '')
";
    let name = "carried-1-py3-none-any.whl";
    let wheel = host.path(&format!("index/simple/carried/{name}"));
    host.program("python3", &["-c", program, wheel.to_str().unwrap()])
        .output();
    let page = format!("<a href=\"{name}\">{name}</a>");
    host.write("index/simple/carried/index.html", &page);
    let origin = origin(&host, ORIGIN);
    let _agent = host.agent();
    let target = host.path("installed").display().to_string();
    let pip = |index: &str| {
        let options = [
            "-m",
            "pip",
            "--isolated",
            "--disable-pip-version-check",
            "--retries=0",
        ];
        let install = [
            "install",
            "--no-cache-dir",
            "--target",
            &target,
            "--index-url",
            index,
        ];
        let python = interpreter();
        let words = [&[python.as_str()][..], &options, &install, &["carried"]].concat();
        client(&host, &words).end()
    };
    let ended = pip("https://api.test/simple");
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(host.path("installed/carried.py").exists());
    for path in [
        "/simple/carried/".to_owned(),
        format!("/simple/carried/{name}"),
    ] {
        expect_logged(&host, &path, "python", 200);
        origin.expect(&format!("{path} Bearer {SECRET}\n"));
    }
    // It keeps what went wrong to itself, unless asked.
    let by_name = pip("https://evil.test/simple");
    expect_told(&by_name, &["evil.test", "No matching distribution"]);
    let by_port = pip("https://api.test:8443/simple");
    expect_told(&by_port, &["No matching distribution found for carried"]);
}

#[test]
fn npm_installs_from_a_registry_that_asks_for_a_credential() {
    let Some(host) = host() else { return };
    for directory in ["index/files", "package", "project", "home"] {
        fs::create_dir_all(host.path(directory)).unwrap();
    }
    let manifest = "{\"name\":\"carried\",\"version\":\"1.0.0\"}";
    host.write("package/package.json", manifest);
    let path = |name: &str| host.path(name).display().to_string();
    let archive = path("index/files/carried.tgz");
    let tar = ["-czf", &archive, "-C", &path(""), "package"];
    host.program("tar", &tar).output();
    let document = "{\"name\":\"carried\",\"dist-tags\":{\"latest\":\"1.0.0\"},\"versions\":{\
                    \"1.0.0\":{\"name\":\"carried\",\"version\":\"1.0.0\",\"dist\":{\
                    \"tarball\":\"https://api.test/files/carried.tgz\"}}}}";
    host.write("index/carried", document);
    host.write("project/package.json", "{\"name\":\"project\"}");
    let origin = origin(&host, ORIGIN);
    let _agent = host.agent();
    let npm = |registry: &str| {
        let registry = format!("--registry={registry}");
        let project = path("project");
        let words = [
            "npm",
            "install",
            "--prefix",
            &project,
            &registry,
            "--no-audit",
        ];
        let words = [
            &words[..],
            &["--no-update-notifier", "--fetch-retries=0", "carried"],
        ];
        client(&host, &words.concat())
            .env("HOME", path("home"))
            .end()
    };
    let by_name = npm("https://evil.test/");
    expect_told(&by_name, &["getaddrinfo ", "evil.test"]);
    let by_port = npm("https://api.test:8443/");
    expect_told(&by_port, &["E403"]);
    let ended = npm("https://api.test/");
    assert_eq!(ended.code, 0, "{ended:?}");
    let installed = fs::read_to_string(host.path("project/node_modules/carried/package.json"));
    assert_eq!(installed.unwrap(), manifest);
    for path in ["/carried", "/files/carried.tgz"] {
        let line = host.expect_log(&[("url.path", path), ("server.port", "443")]);
        assert_eq!(line["tenant"], "acme");
        assert_eq!(line["credential"], "token");
        assert_eq!(line["http.response.status_code"], 200);
        origin.expect(&format!("{path} Bearer {SECRET}\n"));
    }
}

#[test]
fn apt_reads_an_archive_that_asks_for_a_credential() {
    let Some(host) = host() else { return };
    for directory in ["index/debian", "apt/lists/partial", "apt/archives/partial"] {
        fs::create_dir_all(host.path(directory)).unwrap();
    }
    let paragraph = "Package: carried\nVersion: 1\nArchitecture: all\nFilename: carried.deb\n\
                     Size: 1\nDescription: what was carried\n";
    host.write("index/debian/Packages", paragraph);
    let origin = origin(&host, ORIGIN);
    let _agent = host.agent();
    let apt = |archive: &str| {
        host.write(
            "apt/sources.list",
            &format!("deb [trusted=yes] {archive} ./\n"),
        );
        let directory = host.path("apt").display().to_string();
        let settings = [
            format!("Dir::Etc::sourcelist={directory}/sources.list"),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            format!("Dir::State::lists={directory}/lists"),
            format!("Dir::Cache={directory}"),
            // It would give up the capability to read this directory.
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Retries=0".to_owned(),
        ];
        let mut words = vec!["-o"; 2 * settings.len()];
        for (place, setting) in words.iter_mut().skip(1).step_by(2).zip(&settings) {
            *place = setting;
        }
        let run =
            |program: &[&str]| client(&host, &[&program[..1], &words, &program[1..]].concat());
        let updated = run(&["apt-get", "update", "--error-on=any"]).end();
        (updated, run(&["apt-cache", "show", "carried"]).end())
    };
    let (updated, shown) = apt("https://api.test/debian");
    assert_eq!(updated.code, 0, "{updated:?}");
    assert!(shown.stdout.contains("what was carried"), "{shown:?}");
    expect_logged(&host, "/debian/./Packages", "https", 200);
    origin.expect(&format!("/debian/./Packages Bearer {SECRET}\n"));
    let (by_name, _nothing) = apt("https://evil.test/debian");
    expect_told(&by_name, &["evil.test"]);
    let (by_port, _nothing) = apt("https://api.test:8443/debian");
    expect_told(&by_port, &["403"]);
    for refused in [by_name, by_port] {
        assert_eq!(refused.code, 100, "{refused:?}");
    }
}
