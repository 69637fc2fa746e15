//! A workload that speaks HTTP/2 by hand (RFC 9113 section 4).

use std::net::SocketAddr;

use harness::DEADLINE;
use harness::agent::Agent;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const GOAWAY: u8 = 7;

/// A frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A field without any compression (RFC 7541 section 6.2.2).
pub(super) fn field(name: &str, value: &str) -> Vec<u8> {
    let short = |text: &str| u8::try_from(text.len()).ok().filter(|length| *length < 127);
    let (name_length, value_length) = (short(name).unwrap(), short(value).unwrap());
    [
        &[0, name_length],
        name.as_bytes(),
        &[value_length],
        value.as_bytes(),
    ]
    .concat()
}

/// A frame that came back.
#[derive(Clone, Debug)]
pub(super) struct Came {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    /// Of a reset, or of a GOAWAY.
    pub(super) code: u32,
}

impl Came {
    /// Whether it ends an answer.
    pub(super) const fn ends(&self) -> bool {
        self.kind <= HEADERS && self.flags & 1 == 1
    }
}

pub(super) struct Connection(TcpStream);

impl Connection {
    /// Sends the preface and no settings.
    pub(super) async fn open(agent: &Agent, origin: SocketAddr) -> Self {
        let mut connection = Self(agent.connect("acme", origin).await);
        connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        connection.send(&frame(4, 0, 0, &[])).await;
        connection
    }

    /// What is refused early may be closed early.
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        drop(self.0.write_all(bytes).await);
    }

    async fn read(&mut self) -> Option<Came> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let [high, middle, low, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, high, middle, low]) as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        let code_at = match kind {
            RST_STREAM => Some(0),
            GOAWAY => Some(4),
            _ => None,
        };
        let code = code_at.and_then(|at| payload[at..].first_chunk());
        Some(Came {
            kind,
            flags,
            stream: u32::from_be_bytes(stream),
            code: code.map_or(0, |code| u32::from_be_bytes(*code)),
        })
    }

    /// The first frame that `is` the one; what came instead, where it does not come in time.
    pub(super) async fn seek(&mut self, is: impl Fn(&Came) -> bool) -> Result<Came, Vec<Came>> {
        let mut passed = Vec::new();
        let search = async {
            while let Some(came) = self.read().await {
                if is(&came) {
                    return Some(came);
                }
                passed.push(came);
            }
            None
        };
        let found = timeout(DEADLINE, search).await;
        found.ok().flatten().ok_or(passed)
    }

    /// As [`Self::seek`].
    ///
    /// # Panics
    /// Where it does not come in time.
    pub(super) async fn until(&mut self, is: impl Fn(&Came) -> bool) -> Came {
        self.seek(is).await.expect("a frame in time")
    }

    /// Waits for the end.
    pub(super) async fn closed(mut self) {
        let rest = async { while self.read().await.is_some() {} };
        timeout(DEADLINE, rest).await.expect("an end in time");
    }
}
