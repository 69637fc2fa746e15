use harness::host::{Host, Running};

use super::{SECRET, client, expect_denied, expect_logged, expect_told, host, origin};

/// `git http-backend` behind HTTP/1.1 and TLS.
const ORIGIN: &str = "
import http.server, os, ssl, subprocess, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def body(self):
        if self.headers.get('transfer-encoding') != 'chunked':
            return self.rfile.read(int(self.headers.get('content-length', 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b''.join(chunks)
    def serve(self):
        path, _, query = self.path.partition('?')
        print(self.command, path, self.headers.get('authorization'))
        body = self.body()
        environment = os.environ | {
            'GIT_PROJECT_ROOT': sys.argv[1], 'GIT_HTTP_EXPORT_ALL': '1', 'REMOTE_USER': 'acme',
            'REQUEST_METHOD': self.command, 'PATH_INFO': path, 'QUERY_STRING': query,
            'CONTENT_TYPE': self.headers.get('content-type', ''),
            'CONTENT_LENGTH': str(len(body)),
            'HTTP_CONTENT_ENCODING': self.headers.get('content-encoding', ''),
            'GIT_PROTOCOL': self.headers.get('git-protocol', ''),
            'GIT_CONFIG_COUNT': '1', 'GIT_CONFIG_KEY_0': 'safe.directory', 'GIT_CONFIG_VALUE_0': '*',
        }
        git = subprocess.run(['git', 'http-backend'], input=body, env=environment, stdout=-1)
        head, _, content = git.stdout.partition(b'\\r\\n\\r\\n')
        fields = [line.split(': ', 1) for line in head.decode().split('\\r\\n')]
        self.send_response(int(dict(fields).get('Status', '200').split()[0]))
        for name, value in fields:
            if name != 'Status':
                self.send_header(name, value)
        self.send_header('content-length', str(len(content)))
        self.end_headers()
        self.wfile.write(content)
    do_GET = do_POST = serve
    def log_message(self, *ignored):
        pass
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1] + '/origin.pem', sys.argv[1] + '/origin.key')
server = http.server.ThreadingHTTPServer(('203.0.113.10', 443), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True)
print('listening')
server.serve_forever()
";

const IDENTITY: [&str; 4] = ["-c", "user.name=Acme", "-c", "user.email=acme@acme.test"];

/// Runs git as the origin's owner.
fn git(host: &Host, words: &[&str]) {
    host.program("git", &[&IDENTITY[..], words].concat())
        .output();
}

/// A repository `project.git` with one commit of a large file.
fn repository(host: &Host) -> Running {
    let path = |name: &str| host.path(name).display().to_string();
    let (bare, work) = (path("project.git"), path("work"));
    git(host, &["init", "--quiet", "--bare", "-b", "main", &bare]);
    git(host, &["init", "--quiet", "-b", "main", &work]);
    // No two lines are the same: it does not become small.
    let lines: String = (0..200_000_u64)
        .map(|number| format!("{:x}\n", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        .collect();
    host.write("work/large", &lines);
    git(host, &["-C", &work, "add", "large"]);
    git(host, &["-C", &work, "commit", "--quiet", "-m", "first"]);
    git(host, &["-C", &work, "push", "--quiet", &bare, "main"]);
    origin(host, ORIGIN)
}

#[test]
fn git_clones_fetches_and_pushes_and_is_told() {
    let Some(host) = host() else { return };
    let origin = repository(&host);
    let _agent = host.agent();
    let clone = host.path("clone").display().to_string();
    let url = "https://api.test/project.git";
    let git = |words: &[&str]| client(&host, &[&["git"], &IDENTITY[..], words].concat());
    git(&["clone", "--quiet", url, &clone]).output();
    let (cloned, work) = (host.path("clone/large"), host.path("work/large"));
    assert!(std::fs::read(cloned).unwrap() == std::fs::read(work).unwrap());

    // More than `http.postBuffer`: git sends it in chunks, once it was asked whether it may.
    let lines: String = (0..200_000_u64)
        .map(|number| format!("{:x}\n", number.wrapping_mul(0xd1b5_4a32_d192_ed03)))
        .collect();
    host.write("clone/larger", &lines);
    git(&["-C", &clone, "add", "larger"]).output();
    git(&["-C", &clone, "commit", "--quiet", "-m", "second"]).output();
    git(&["-C", &clone, "push", "--quiet", "origin", "main"]).output();
    let bare = host.path("project.git").display().to_string();
    let log = host.program("git", &["-C", &bare, "log", "--format=%s", "main"]);
    assert_eq!(log.output(), "second\nfirst\n");
    git(&["-C", &clone, "fetch", "--quiet", "origin"]).output();

    for path in [
        "/project.git/info/refs",
        "/project.git/git-upload-pack",
        "/project.git/git-receive-pack",
    ] {
        expect_logged(&host, path, "git-remote-http", 200);
        origin.expect(&format!("{path} Bearer {SECRET}\n"));
    }
    let by_name = git(&["ls-remote", "https://evil.test/project.git"]).end();
    expect_told(&by_name, &["Could not resolve host: evil.test"]);
    let by_port = git(&["ls-remote", "https://api.test:8443/project.git"]).end();
    expect_told(&by_port, &["The requested URL returned error: 403"]);
    for refused in [by_name, by_port] {
        assert_eq!(refused.code, 128, "{refused:?}");
    }
    expect_denied(&host, 403);
}
