use http::Version;

use super::{Stage, expect_told};

/// What each of them prints after what it did.
const DONE: &str = "1048576\n3\nhttps://api.test/redirected\n70000\n";

#[test]
fn requests_is_carried_and_told() {
    let Some(stage) = Stage::new() else { return };
    let program = "
import requests
session = requests.Session()
for _ in range(3):
    reply = session.get('https://api.test/requests')
    print(reply.status_code, reply.text, end='')
print(session.post('https://api.test/sink', data=b'x' * (1 << 20)).text, end='')
print(session.post('https://api.test/sink', data=iter([b'ab', b'c'])).text, end='')
print(session.get('https://api.test/redirect').url)
reply = session.get('https://api.test/bytes/70000', stream=True)
print(sum(map(len, reply.iter_content(1000))))
try:
    session.get('https://evil.test/')
except requests.ConnectionError as error:
    print(error)
reply = session.get('https://api.test:8443/')
print(reply.status_code, reply.json())
";
    let ended = stage.python(program).end();
    assert_eq!(ended.code, 0, "{ended:?}");
    let hello = "200 hello from api.test/requests\n".repeat(3);
    assert!(ended.stdout.starts_with(&(hello + DONE)), "{ended:?}");
    expect_told(
        &ended,
        &["Failed to resolve 'evil.test'", "403 ", "no_rule"],
    );
    let visit = stage.expect_carried("/requests", "python");
    assert!(
        visit
            .header("user-agent")
            .unwrap()
            .starts_with("python-requests/")
    );
    stage.expect_denied();
}

#[test]
fn httpx_is_carried_in_both_versions_of_http_and_told() {
    let Some(stage) = Stage::new() else { return };
    for (path, is_http2, version) in [
        ("/httpx1", "False", "HTTP/1.1"),
        ("/httpx2", "True", "HTTP/2"),
    ] {
        let program = format!(
            "
import httpx
with httpx.Client(http2={is_http2}, follow_redirects=True) as client:
    for _ in range(3):
        reply = client.get('https://api.test{path}')
        print(reply.http_version, reply.status_code, reply.text, end='')
    print(client.post('https://api.test/sink', content=b'x' * (1 << 20)).text, end='')
    print(client.post('https://api.test/sink', content=iter([b'ab', b'c'])).text, end='')
    print(client.get('https://api.test/redirect').url)
    with client.stream('GET', 'https://api.test/bytes/70000') as reply:
        print(sum(map(len, reply.iter_bytes())))
    try:
        client.get('https://evil.test/')
    except httpx.ConnectError as error:
        print(error)
    reply = client.get('https://api.test:8443/')
    print(reply.status_code, reply.json())
"
        );
        let ended = stage.python(&program).end();
        assert_eq!(ended.code, 0, "{ended:?}");
        let hello = format!("{version} 200 hello from api.test{path}\n").repeat(3);
        assert!(ended.stdout.starts_with(&(hello + DONE)), "{ended:?}");
        expect_told(&ended, &["name resolution", "403 ", "no_rule"]);
        let visit = stage.expect_carried(path, "python");
        assert_eq!(visit.version, Version::HTTP_2);
    }
    stage.expect_denied();
}

#[test]
fn httpx_asks_for_much_at_once_on_one_connection() {
    let Some(stage) = Stage::new() else { return };
    let program = "
import asyncio, httpx
async def main():
    async with httpx.AsyncClient(http2=True, timeout=40) as client:
        # Makes the connection that the others share.
        await client.get('https://api.test/first')
        async def ask(number):
            if number % 2:
                reply = await client.get(f'https://api.test/bytes/{number * 1000}')
                return len(reply.content) == number * 1000
            reply = await client.post('https://api.test/sink', content=b'x' * number * 1000)
            return int(reply.text) == number * 1000
        print(sum(await asyncio.gather(*map(ask, range(100)))))
asyncio.run(main())
";
    assert_eq!(stage.python(program).output(), "100\n");
    stage.expect_carried("/first", "python");
    let opened = "outbound_connections_opened_total{tenant=\"acme\"}";
    stage.host.expect_metric(opened, 1.0);
}

#[test]
fn urllib_is_carried_and_told() {
    let Some(stage) = Stage::new() else { return };
    let program = "
import urllib.error, urllib.request
def ask(url, **more):
    with urllib.request.urlopen(url, timeout=40, **more) as reply:
        return reply.read().decode(), reply.status, reply.url
print(*ask('https://api.test/urllib'))
print(ask('https://api.test/sink', data=b'x' * (1 << 20))[0], end='')
print(ask('https://api.test/redirect')[2])
print(len(ask('https://api.test/bytes/70000')[0]))
try:
    ask('https://evil.test/')
except urllib.error.URLError as error:
    print(error)
try:
    ask('https://api.test:8443/')
except urllib.error.HTTPError as error:
    print(error, error.read())
";
    let ended = stage.python(program).end();
    assert_eq!(ended.code, 0, "{ended:?}");
    let told = "hello from api.test/urllib\n 200 https://api.test/urllib\n\
                1048576\nhttps://api.test/redirected\n70000\n";
    assert!(ended.stdout.starts_with(told), "{ended:?}");
    expect_told(&ended, &["name resolution", "403", "no_rule"]);
    stage.expect_carried("/urllib", "python");
    stage.expect_denied();
}
