//! Origins in a host's namespace, on threads of this process, so that a test sees what they saw.
//!
//! A path says what is answered: `/bytes/N` that many octets; `/sink` how long the body was;
//! `/held` half a body, and the rest once the test says [`Server::go_on`]; `/held-sink` as
//! `/sink`, the body not being read before that; all else a greeting.

use std::io::{self, BufReader, ErrorKind, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use nix::sys::socket::{Shutdown, shutdown};

use crate::sandbox::{Netns, PATIENCE};

/// A scripted origin; it ends when dropped.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    notes: Arc<Notes>,
}

/// A request as an origin saw it.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The target as on the wire.
    pub target: String,
    headers: Vec<(String, String)>,
}

#[derive(Debug, Default)]
struct Notes {
    connections: AtomicUsize,
    requests: Mutex<Vec<Request>>,
    /// Octets of bodies sent.
    sent: AtomicU64,
    is_blocked: AtomicBool,
    gate: Mutex<bool>,
    opened: Condvar,
}

/// How long a peer may take nothing before the origin notes that it is blocked.
const BLOCKED: Duration = Duration::from_millis(300);

impl Server {
    pub(super) fn start(netns: &Netns, address: &str) -> Self {
        let listener = netns.enter(|| TcpListener::bind(address));
        let listener = listener.unwrap_or_else(|error| panic!("cannot bind {address}: {error}"));
        let notes = Arc::<Notes>::default();
        let accepting = listener.try_clone().expect("a descriptor");
        let kept = Arc::clone(&notes);
        thread::spawn(move || {
            for stream in accepting.incoming().map_while(Result::ok) {
                kept.connections.fetch_add(1, Ordering::SeqCst);
                let notes = Arc::clone(&kept);
                // A peer that goes away is no failure of the origin.
                thread::spawn(move || drop(serve(stream, &notes)));
            }
        });
        Self { listener, notes }
    }

    /// How many connections were made to it.
    pub fn connections(&self) -> usize {
        self.notes.connections.load(Ordering::SeqCst)
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.notes.requests.lock().unwrap().clone()
    }

    /// How many octets of bodies it has sent.
    pub fn sent(&self) -> u64 {
        self.notes.sent.load(Ordering::SeqCst)
    }

    /// Whether its peer does not take what it sends.
    pub fn is_blocked(&self) -> bool {
        self.notes.is_blocked.load(Ordering::SeqCst)
    }

    /// Lets what is held go on, now and from now on.
    pub fn go_on(&self) {
        *self.notes.gate.lock().unwrap() = true;
        self.notes.opened.notify_all();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.go_on();
        // Wakes who accepts.
        shutdown(self.listener.as_raw_fd(), Shutdown::Both).expect("the listener ends");
    }
}

impl Request {
    /// A header's value, the name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(found, _value)| found == name)
            .map(|(_name, value)| value.as_str())
    }

    fn read(reader: &mut impl io::BufRead) -> io::Result<Option<Self>> {
        let first = line(reader)?;
        let mut words = first.split(' ').map(str::to_owned);
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Ok(None);
        };
        let mut request = Self {
            method,
            target,
            headers: Vec::new(),
        };
        loop {
            let line = line(reader)?;
            let Some((name, value)) = line.split_once(':') else {
                return Ok(Some(request));
            };
            let field = (name.to_lowercase(), value.trim().to_owned());
            request.headers.push(field);
        }
    }
}

impl Notes {
    fn wait_for_gate(&self) {
        let gate = self.gate.lock().unwrap();
        let waited = self
            .opened
            .wait_timeout_while(gate, PATIENCE * 6, |is_open| !*is_open);
        drop(waited.unwrap());
    }

    /// Writes all of it, and notes where that takes long.
    fn send(&self, mut stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match stream.write(bytes) {
                Ok(length) => {
                    self.is_blocked.store(false, Ordering::SeqCst);
                    self.sent.fetch_add(length as u64, Ordering::SeqCst);
                    bytes = &bytes[length..];
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.is_blocked.store(true, Ordering::SeqCst);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn serve(stream: TcpStream, notes: &Notes) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(BLOCKED))?;
    let mut reader = BufReader::with_capacity(256 * 1024, stream.try_clone()?);
    while let Some(request) = Request::read(&mut reader)? {
        notes.requests.lock().unwrap().push(request.clone());
        if request.target == "/held-sink" {
            notes.wait_for_gate();
        }
        let received = take_body(&request, &mut reader)?;
        answer(&request, received, &stream, notes)?;
        if request.header("connection") == Some("close") {
            return Ok(());
        }
    }
    Ok(())
}

fn answer(request: &Request, received: u64, stream: &TcpStream, notes: &Notes) -> io::Result<()> {
    let head = |length| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
    let say = |text: String| {
        let mut stream = stream;
        stream.write_all(text.as_bytes())
    };
    if let Some(length) = request.target.strip_prefix("/bytes/") {
        let mut left: usize = length.parse().map_err(io::Error::other)?;
        say(head(left))?;
        let chunk = vec![b'o'; 256 * 1024];
        while left > 0 {
            let length = left.min(chunk.len());
            notes.send(stream, &chunk[..length])?;
            left -= length;
        }
        return Ok(());
    }
    match request.target.as_str() {
        "/sink" | "/held-sink" => {
            let body = format!("{received}\n");
            say(head(body.len()) + &body)
        }
        "/held" => {
            say(head(12) + "hello ")?;
            notes.wait_for_gate();
            say("again\n".to_owned())
        }
        path => {
            let host = request.header("host").unwrap_or("nobody");
            let body = format!("hello from {host}{path}\n");
            say(head(body.len()) + &body)
        }
    }
}

/// Reads a body to its end; gives its length.
fn take_body(request: &Request, reader: &mut impl io::BufRead) -> io::Result<u64> {
    if request.header("transfer-encoding") == Some("chunked") {
        let mut received = 0;
        loop {
            let size = u64::from_str_radix(&line(reader)?, 16).map_err(io::Error::other)?;
            received += skip(&mut *reader, size)?;
            line(reader)?;
            if size == 0 {
                return Ok(received);
            }
        }
    }
    let length = request.header("content-length").unwrap_or("0");
    skip(reader, length.parse().map_err(io::Error::other)?)
}

fn skip(reader: impl io::BufRead, length: u64) -> io::Result<u64> {
    io::copy(&mut reader.take(length), &mut io::sink())
}

fn line(reader: &mut impl io::BufRead) -> io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    line.truncate(line.trim_end().len());
    Ok(line)
}
