//! A scripted DNS server on loopback, over UDP and TCP.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hickory_proto::op::{Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::svcb::{SVCB, SvcParamKey, SvcParamValue};
use hickory_proto::rr::rdata::{CNAME, HTTPS, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

use crate::spawn;

/// What a server says to a question.
#[derive(Clone, Debug)]
pub enum Says {
    /// These records; none where there are none.
    Records(Vec<Record>),
    /// There is no such name.
    NoName,
    /// It failed.
    Failure,
    /// Nothing.
    Silence,
}

/// A server that a test has scripted; it ends with the test.
#[derive(Debug)]
pub struct Nameserver {
    /// Where it listens.
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<(String, RecordType)>>>,
    serving: [JoinHandle<()>; 2],
}

impl Nameserver {
    /// Says what `script` says to a name, in lower case without its last dot, and a type.
    pub async fn start<S>(script: S) -> Self
    where
        S: Fn(&str, RecordType) -> Says + Clone + Send + Sync + 'static,
    {
        let (datagrams, listener) = sockets().await;
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<_>>>::default();
        let answer = {
            let asked = Arc::clone(&asked);
            move |bytes: &[u8]| answer(bytes, &script, &asked)
        };
        let over_tcp = answer.clone();
        let serving = [
            spawn(async move {
                let mut bytes = [0; 4096];
                while let Ok((length, from)) = datagrams.recv_from(&mut bytes).await {
                    if let Some(message) = answer(&bytes[..length]) {
                        let bytes = message.to_vec().unwrap();
                        let fits = bytes.len() <= 1232;
                        let cut = || message.truncate().to_vec().unwrap();
                        let bytes = if fits { bytes } else { cut() };
                        drop(datagrams.send_to(&bytes, from).await);
                    }
                }
            }),
            spawn(async move {
                while let Ok((mut stream, _from)) = listener.accept().await {
                    while let Some(bytes) = receive(&mut stream).await {
                        if let Some(message) = over_tcp(&bytes) {
                            send(&mut stream, &message.to_vec().unwrap()).await;
                        }
                    }
                }
            }),
        ];
        Self {
            address,
            asked,
            serving,
        }
    }

    /// Every question so far.
    pub fn asked(&self) -> Vec<(String, RecordType)> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Nameserver {
    fn drop(&mut self) {
        for serving in &self.serving {
            serving.abort();
        }
    }
}

/// Both on one port.
async fn sockets() -> (UdpSocket, TcpListener) {
    loop {
        let datagrams = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = datagrams.local_addr().unwrap().port();
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)).await {
            return (datagrams, listener);
        }
    }
}

fn answer(
    bytes: &[u8],
    script: &impl Fn(&str, RecordType) -> Says,
    asked: &Mutex<Vec<(String, RecordType)>>,
) -> Option<Message> {
    let query = Message::from_vec(bytes).ok()?;
    let question = query.queries.first()?.clone();
    let name = question.name().to_lowercase().to_ascii();
    let name = name.trim_end_matches('.');
    let kind = question.query_type();
    asked.lock().unwrap().push((name.to_owned(), kind));
    let mut message = Message::response(query.metadata.id, OpCode::Query);
    message.metadata = Metadata::response_from_request(&query.metadata);
    message.add_query(question);
    let soa = record(
        "test",
        RData::SOA(SOA::new(
            dns_name("ns.test"),
            dns_name("root.test"),
            1,
            60,
            60,
            60,
            60,
        )),
    );
    match script(name, kind) {
        Says::Records(records) if records.is_empty() => {
            message.add_authority(soa);
        }
        Says::Records(records) => message.insert_answers(records),
        Says::NoName => {
            message.metadata.response_code = ResponseCode::NXDomain;
            message.add_authority(soa);
        }
        Says::Failure => message.metadata.response_code = ResponseCode::ServFail,
        Says::Silence => return None,
    }
    Some(message)
}

/// A query as a client sends it.
pub fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(dns_name(name), kind));
    message
}

/// A record that lives for five minutes.
pub fn record(name: &str, data: RData) -> Record {
    Record::from_rdata(dns_name(name), 300, data)
}

/// An A or AAAA record.
pub fn address(name: &str, ip: &str) -> Record {
    let ip: std::net::IpAddr = ip.parse().unwrap();
    record(name, RData::from(ip))
}

/// An alias.
pub fn alias(name: &str, to: &str) -> Record {
    record(name, RData::CNAME(CNAME(dns_name(to))))
}

/// A text.
pub fn text(name: &str, text: &str) -> Record {
    record(name, RData::TXT(TXT::new(vec![text.to_owned()])))
}

/// A service binding of HTTPS (RFC 9460) to the name itself.
pub fn binding(name: &str, parameters: Vec<(SvcParamKey, SvcParamValue)>) -> Record {
    let binding = SVCB::new(1, Name::root(), parameters);
    record(name, RData::HTTPS(HTTPS(binding)))
}

fn dns_name(name: &str) -> Name {
    Name::from_ascii(format!("{}.", name.trim_end_matches('.'))).unwrap()
}

/// Sends a message behind its length.
pub async fn send(stream: &mut TcpStream, message: &[u8]) {
    let length = u16::try_from(message.len()).unwrap();
    // Whoever went away does not mind.
    drop(
        stream
            .write_all(&[&length.to_be_bytes(), message].concat())
            .await,
    );
}

/// The next message of a connection.
pub async fn receive(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let length = stream.read_u16().await.ok()?;
    let mut message = vec![0; length.into()];
    stream.read_exact(&mut message).await.ok()?;
    Some(message)
}
