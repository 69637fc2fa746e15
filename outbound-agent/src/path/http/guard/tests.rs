use super::*;

const LIMITS: Limits = Limits {
    header_bytes: 1024,
    headers: 10,
};

/// What passes, and why the rest does not, where the bytes come `cut` at a time.
fn read(bytes: &[u8], cut: usize) -> (Vec<u8>, Option<Reason>) {
    let mut framing = Framing::new(LIMITS);
    let (mut passed, mut held) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(cut) {
        held.extend_from_slice(piece);
        let passes = framing.advance(&held);
        passed.extend(held.drain(..passes));
        let refused = framing.take_refusal().map(|(reason, _line)| reason);
        if let Some(reason) = refused.or(framing.broken()) {
            return (passed, Some(reason));
        }
    }
    (passed, None)
}

#[test]
fn sound_requests_pass_whole_however_they_are_cut() {
    let bytes = b"\r\nGET /a HTTP/1.1\r\nhost: a\r\n\r\n\
        POST /b?c HTTP/1.1\r\nHost: a\r\nContent-Length: 5 \r\nempty:\r\n\r\nhello\
        POST * HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: Chunked\r\n\r\n\
        5;name=\"value\"\r\nhel\r\n\r\n00a\r\n0123456789\r\n0\r\nx-sum: 1\r\n\r\n\
        GET http://a/ HTTP/1.0\r\n\r\n";
    for cut in 1..=bytes.len() {
        let (passed, refused) = read(bytes, cut);
        assert_eq!(
            (passed.as_slice(), refused),
            (&bytes[..], None),
            "pieces of {cut}"
        );
    }
}

#[test]
fn a_request_behind_another_is_judged_as_strictly() {
    let first = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";
    let bytes = [&first[..], b"GET / HTTP/1.1\r\nhost : a\r\n\r\n"].concat();
    for cut in 1..=bytes.len() {
        let (passed, refused) = read(&bytes, cut);
        assert_eq!(
            (passed.as_slice(), refused),
            (&first[..], Some(Reason::InvalidHeader)),
            "pieces of {cut}"
        );
    }
}

#[test]
fn a_body_that_breaks_its_framing_never_ends() {
    for (chunks, reason) in [
        (&b"5\r\nhelloX"[..], Reason::InvalidChunk),
        (b"5\r\nhello\n", Reason::BareLineEnd),
        (b"5\nhello", Reason::BareLineEnd),
        (b"5\rx\nhello", Reason::BareLineEnd),
        (b"5;a\nhello", Reason::BareLineEnd),
        (b"5;a\rb\r\nhello", Reason::BareLineEnd),
        (b"5;\0\r\nhello", Reason::InvalidChunk),
        (b" 5\r\nhello", Reason::InvalidChunk),
        (b"5 \r\nhello", Reason::InvalidChunk),
        (b"0x5\r\nhello", Reason::InvalidChunk),
        (b"+5\r\nhello", Reason::InvalidChunk),
        (b"\r\nhello", Reason::InvalidChunk),
        (b"10000000000000000\r\n", Reason::InvalidChunk),
        (b"0\r\nhost: b\r\n\r\n", Reason::InvalidChunk),
        (b"0\r\nContent_Length: 5\r\n\r\n", Reason::InvalidChunk),
        (b"0\r\nx : 1\r\n\r\n", Reason::InvalidHeader),
        (b"0\r\n x: 1\r\n\r\n", Reason::InvalidHeader),
        (b"0\r\nGET / HTTP/1.1\r\n\r\n", Reason::InvalidHeader),
        (b"0\r\nx: 1\n\r\n", Reason::BareLineEnd),
    ] {
        let head = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
        let bytes = [&head[..], chunks].concat();
        for cut in 1..=bytes.len() {
            let (passed, refused) = read(&bytes, cut);
            assert_eq!(
                refused,
                Some(reason),
                "{:?} by {cut}",
                chunks.escape_ascii().to_string()
            );
            assert!(passed.len() < bytes.len());
        }
        // What comes at once is refused at once.
        assert_eq!(read(&bytes, bytes.len()).0, b"");
    }
}

#[test]
fn heads_have_limits() {
    let long = format!(
        "GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n",
        "x".repeat(1024)
    );
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(11));
    let endless = "\r\n".repeat(600);
    for bytes in [long, many, endless] {
        assert_eq!(read(bytes.as_bytes(), 100).1, Some(Reason::HeaderTooLarge));
        assert_eq!(read(bytes.as_bytes(), 8192).1, Some(Reason::HeaderTooLarge));
    }
}

#[test]
fn nothing_is_read_behind_what_may_change_the_protocol() {
    let head = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    let mut framing = Framing::new(LIMITS);
    let bytes = [&head[..], b"\0\n\0"].concat();
    assert_eq!(framing.advance(&bytes), head.len());
    assert!(framing.may_switch());
    framing.switch(true);
    assert_eq!(framing.advance(b"\0\n\0"), 3);
}
