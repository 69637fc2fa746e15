//! Origins and workloads that cost little themselves.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use harness::spawn;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// What an origin answers to everything but `/large`.
const ANSWER: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 13\r\n\r\nhello, world!";
/// The length of `/large`, and of what is sent there.
pub(crate) const LARGE_BYTES: usize = 1 << 30;
static PIECE: [u8; 64 << 10] = [b'x'; 64 << 10];

/// An origin that answers until the benchmark ends.
pub(crate) async fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(spawn(async move {
        while let Ok((stream, _from)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            drop(spawn(answer(stream)));
        }
    }));
    address
}

async fn answer(mut stream: TcpStream) {
    let mut buffer = Vec::with_capacity(64 << 10);
    loop {
        let Some(head) = read_head(&mut stream, &mut buffer).await else {
            return;
        };
        if !drain(&mut stream, &mut buffer, length(&head)).await {
            return;
        }
        let sent = match head.starts_with("GET /large ") {
            true => send_large(&mut stream).await,
            false => stream.write_all(ANSWER.as_bytes()).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn send_large(stream: &mut TcpStream) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE_BYTES}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    for _ in 0..LARGE_BYTES / PIECE.len() {
        stream.write_all(&PIECE).await?;
    }
    Ok(())
}

/// Reads up to the end of a head; what follows stays in the buffer.
async fn read_head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = buffer.drain(..end + 4).collect();
            return String::from_utf8(head).ok();
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

fn length(head: &str) -> usize {
    let mut lines = head.split("\r\n");
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    });
    length.unwrap_or(0)
}

async fn drain(stream: &mut TcpStream, buffer: &mut Vec<u8>, mut left: usize) -> bool {
    loop {
        let here = left.min(buffer.len());
        buffer.drain(..here);
        left -= here;
        if left == 0 {
            return true;
        }
        match stream.read_buf(buffer).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return false,
        }
    }
}

/// Reads a body in chunks, none of which looks like the last one.
async fn drain_chunks(stream: &mut TcpStream, buffer: &mut Vec<u8>) {
    while !buffer.ends_with(b"0\r\n\r\n") {
        assert!(stream.read_buf(buffer).await.unwrap() > 0, "a whole body");
    }
    buffer.clear();
}

/// A connection of tenant `number`.
pub(crate) async fn connect(agent: SocketAddr, number: u16) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    let [high, low] = number.to_be_bytes();
    socket
        .bind(SocketAddr::from(([127, 1, high, low], 0)))
        .unwrap();
    let stream = socket.connect(agent).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// The same requests, one after the other, again and again over one connection; gives how long
/// each round took.
pub(crate) async fn ask(stream: &mut TcpStream, requests: &[String], times: u32) -> Vec<Duration> {
    let mut buffer = Vec::with_capacity(4 << 10);
    let mut took = Vec::with_capacity(times as usize);
    for _ in 0..times {
        let began = Instant::now();
        for request in requests {
            stream.write_all(request.as_bytes()).await.unwrap();
            let head = read_head(stream, &mut buffer).await.expect("an answer");
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            match head.to_ascii_lowercase().contains("\r\ntransfer-encoding:") {
                true => drain_chunks(stream, &mut buffer).await,
                false => assert!(drain(stream, &mut buffer, length(&head)).await),
            }
        }
        took.push(began.elapsed());
    }
    took
}

/// As [`ask`], over `connections` at once.
pub(crate) async fn ask_at_once(
    agent: SocketAddr,
    requests: &[String],
    connections: u32,
    times: u32,
) {
    let mut asking = JoinSet::new();
    for _ in 0..connections {
        let requests = requests.to_vec();
        asking.spawn(async move { ask(&mut connect(agent, 1).await, &requests, times).await });
    }
    while let Some(asked) = asking.join_next().await {
        drop(asked.unwrap());
    }
}

/// Downloads or uploads [`LARGE_BYTES`].
pub(crate) async fn transfer(agent: SocketAddr, host: &str, is_upload: bool) {
    let mut stream = connect(agent, 1).await;
    let request = match is_upload {
        false => format!("GET /large HTTP/1.1\r\nhost: {host}\r\n\r\n"),
        true => format!("POST / HTTP/1.1\r\nhost: {host}\r\ncontent-length: {LARGE_BYTES}\r\n\r\n"),
    };
    stream.write_all(request.as_bytes()).await.unwrap();
    if is_upload {
        for _ in 0..LARGE_BYTES / PIECE.len() {
            stream.write_all(&PIECE).await.unwrap();
        }
    }
    let mut buffer = Vec::with_capacity(256 << 10);
    let head = read_head(&mut stream, &mut buffer)
        .await
        .expect("an answer");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let length = if is_upload {
        length(&head)
    } else {
        LARGE_BYTES
    };
    assert!(drain(&mut stream, &mut buffer, length).await);
}
