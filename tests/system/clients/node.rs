use http::Version;

use super::{Stage, expect_told};

/// What each of them prints after what it did.
const DONE: &str = "1048576\n3\n70000\n";

#[test]
fn fetch_is_carried_and_told() {
    let Some(stage) = Stage::new() else { return };
    let program = "
(async () => {
    const reply = await fetch('https://api.test/fetch');
    console.log(reply.status, (await reply.text()).trim());
    const post = async body =>
        (await fetch('https://api.test/sink', { method: 'POST', body, duplex: 'half' })).text();
    console.log((await post('x'.repeat(1 << 20))).trim());
    const pieces = new ReadableStream({ start(controller) {
        for (const piece of ['ab', 'c']) controller.enqueue(new TextEncoder().encode(piece));
        controller.close();
    } });
    console.log((await post(pieces)).trim());
    const bytes = await (await fetch('https://api.test/bytes/70000')).arrayBuffer();
    console.log(bytes.byteLength);
    console.log((await fetch('https://api.test/redirect')).url);
    await fetch('https://evil.test/').catch(error => console.log(String(error.cause)));
    const denied = await fetch('https://api.test:8443/');
    console.log(denied.status, await denied.text());
})();
";
    let ended = stage.node(program).end();
    assert_eq!(ended.code, 0, "{ended:?}");
    let told = format!("200 hello from api.test/fetch\n{DONE}https://api.test/redirected\n");
    assert!(ended.stdout.starts_with(&told), "{ended:?}");
    expect_told(&ended, &["getaddrinfo ", "evil.test", "403 ", "no_rule"]);
    stage.expect_carried("/fetch", "node");
    stage.expect_denied();
}

#[test]
fn the_http2_module_is_carried_with_many_streams_and_told() {
    let Some(stage) = Stage::new() else { return };
    let program = "
const http2 = require('http2');
const open = origin => new Promise((done, failed) => {
    const session = http2.connect(origin, () => done(session));
    session.on('error', failed);
});
const ask = (session, headers, body) => new Promise((done, failed) => {
    const stream = session.request(headers, { endStream: body === undefined });
    const told = { body: '' };
    stream.setEncoding('utf8');
    stream.on('response', headers => { told.status = headers[':status']; });
    stream.on('trailers', trailers => { told.length = trailers['x-length']; });
    stream.on('data', piece => { told.body += piece; });
    stream.on('end', () => done(told));
    stream.on('error', failed);
    if (body !== undefined) stream.end(body);
});
(async () => {
    const session = await open('https://api.test');
    const hello = await ask(session, { ':path': '/http2' });
    console.log(hello.status, hello.body.trim());
    const sunk = await ask(session, { ':path': '/sink', ':method': 'POST' }, 'x'.repeat(1 << 20));
    console.log(sunk.body.trim());
    const echoed = await ask(session, { ':path': '/echo', ':method': 'POST' }, 'abc');
    console.log(echoed.body, echoed.length);
    const many = Array.from({ length: 100 }, (_, number) =>
        ask(session, { ':path': '/bytes/' + number * 100 }));
    const lengths = (await Promise.all(many)).map(told => told.body.length);
    console.log(lengths.every((length, number) => length === number * 100));
    const other = await ask(session, { ':path': '/other', ':authority': 'bulk.test' });
    console.log(other.status, other.body);
    session.close();
    await open('https://evil.test').catch(error => console.log(String(error)));
    const denied = await open('https://api.test:8443');
    const refusal = await ask(denied, { ':path': '/' });
    console.log(refusal.status, refusal.body);
    denied.close();
})();
";
    let ended = stage.node(program).end();
    assert_eq!(ended.code, 0, "{ended:?}");
    let told = "200 hello from api.test/http2\n1048576\nabc 3\ntrue\n421 ";
    assert!(ended.stdout.starts_with(told), "{ended:?}");
    let words = [
        "destination_mismatch",
        "getaddrinfo ",
        "evil.test",
        "403 ",
        "no_rule",
    ];
    expect_told(&ended, &words);
    let visit = stage.expect_carried("/http2", "node");
    assert_eq!(visit.version, Version::HTTP_2);
    stage.expect_denied();
    let misdirected = [("url.path", "/other"), ("reason", "destination_mismatch")];
    stage.host.expect_log(&misdirected);
}

#[test]
fn undici_is_carried_in_both_versions_of_http_and_told() {
    let Some(stage) = Stage::new() else { return };
    for (path, allow_h2) in [("/undici1", "false"), ("/undici2", "true")] {
        let program = format!("
const {{ Agent, request }} = require('undici');
const dispatcher = new Agent({{ allowH2: {allow_h2} }});
const ask = async (url, more) => {{
    const reply = await request(url, {{ dispatcher, ...more }});
    return {{ status: reply.statusCode, text: await reply.body.text() }};
}};
(async () => {{
    const hello = await ask('https://api.test{path}');
    console.log(hello.status, hello.text.trim());
    const post = async body => (await ask('https://api.test/sink', {{ method: 'POST', body }})).text;
    console.log((await post('x'.repeat(1 << 20))).trim());
    console.log((await post(require('stream').Readable.from(['ab', 'c']))).trim());
    console.log((await ask('https://api.test/bytes/70000')).text.length);
    await ask('https://evil.test/').catch(error => console.log(String(error)));
    const denied = await ask('https://api.test:8443/');
    console.log(denied.status, denied.text);
    await dispatcher.close();
}})();
");
        let ended = stage.node(&program).end();
        assert_eq!(ended.code, 0, "{ended:?}");
        let told = format!("200 hello from api.test{path}\n{DONE}");
        assert!(ended.stdout.starts_with(&told), "{ended:?}");
        expect_told(&ended, &["getaddrinfo ", "evil.test", "403 ", "no_rule"]);
        stage.expect_carried(path, "node");
    }
    stage.expect_denied();
}
