//! DNS messages: what of a query counts, and how an answer to it is made.
//!
//! A query is read whole and bounded; of it only name, type and the client's room for the
//! answer go any further. An answer repeats the question as it was asked, to the letter's case.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, Record, RecordType};

use crate::model::host::Host;
use crate::model::rcode::Rcode;
use crate::model::reason::Reason;
use crate::path::upstream::resolve::Found;

/// Longer queries are cut off, and with that malformed.
pub const MAX_QUERY_BYTES: usize = 4096;

/// How answers travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// In one datagram.
    Udp,
    /// Over a connection.
    Tcp,
}

/// A query that can be answered.
#[derive(Debug)]
pub struct Asked {
    head: Metadata,
    question: Query,
    edns: Option<Edns>,
}

/// What the agent does about the type that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Look it up.
    LookUp(RecordType),
    /// Refuse it.
    Refuse,
}

/// A message that is no query, and what it is answered, if anything.
#[derive(Debug)]
pub struct Unusable {
    /// Why.
    pub reason: Reason,
    /// What it is answered.
    pub reply: Option<Reply>,
}

/// An answer, not yet in bytes.
#[derive(Debug)]
pub struct Reply {
    message: Message,
    room: usize,
}

impl Asked {
    /// Reads a message.
    pub fn read(bytes: &[u8]) -> Result<Self, Box<Unusable>> {
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(Unusable::silent());
        };
        let [id_high, id_low, flags, _, questions_high, questions_low, ..] = *header;
        // A response to a response would never end.
        if flags & 0x80 != 0 {
            return Err(Unusable::silent());
        }
        let id = u16::from_be_bytes([id_high, id_low]);
        let mut head = Metadata::new(id, MessageType::Query, OpCode::from_u8((flags >> 3) & 0xf));
        head.recursion_desired = flags & 1 != 0;
        let unusable = |reason, code| {
            let reply = Some(Reply::new(&head, None, None, code));
            Box::new(Unusable { reason, reply })
        };
        if head.op_code != OpCode::Query {
            return Err(unusable(Reason::UnsupportedProtocol, Rcode::NotImp));
        }
        let malformed = || unusable(Reason::Malformed, Rcode::FormErr);
        if u16::from_be_bytes([questions_high, questions_low]) != 1 {
            return Err(malformed());
        }
        let message = Message::from_vec(bytes).map_err(|_error| malformed())?;
        let Message {
            metadata: head,
            mut queries,
            edns,
            ..
        } = message;
        let question = queries.pop().ok_or_else(malformed)?;
        let asked = Self {
            head,
            question,
            edns,
        };
        if asked.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
            return Err(Box::new(Unusable {
                reason: Reason::UnsupportedProtocol,
                reply: Some(asked.reply(Rcode::BadVers)),
            }));
        }
        Ok(asked)
    }

    /// The name, in lower case and without its last dot, for the log.
    pub fn name(&self) -> String {
        let mut name = self.question.name().to_lowercase().to_ascii();
        if name.len() > 1 && name.ends_with('.') {
            name.pop();
        }
        name
    }

    /// The type, for the log.
    pub fn kind(&self) -> String {
        self.question.query_type().to_string()
    }

    /// What the name stands for in policy: itself, or the address whose names are asked for.
    /// None where it is no host's name.
    pub fn host(&self) -> Option<Host> {
        let name = self.question.name();
        if let Ok(network) = name.parse_arpa_name() {
            let host = Host::from(network.addr());
            // Written in full and in the one form.
            return match &host {
                Host::Address(address) if &reverse(*address) == name => Some(host),
                Host::Address(_) | Host::Name(_) => None,
            };
        }
        let labels: Vec<&str> = name
            .iter()
            .map(|label| {
                let label = std::str::from_utf8(label).ok()?;
                // A dot inside a label, or octets that a host would have in another form.
                (label.is_ascii() && !label.contains('.')).then_some(label)
            })
            .collect::<Option<_>>()?;
        match labels.join(".").parse() {
            Ok(host @ Host::Name(_)) => Some(host),
            Ok(Host::Address(_)) | Err(_) => None,
        }
    }

    /// What the agent does about it.
    pub fn service(&self) -> Service {
        use RecordType as T;
        if self.question.query_class() != DNSClass::IN {
            return Service::Refuse;
        }
        match self.question.query_type() {
            kind @ (T::A
            | T::AAAA
            | T::CAA
            | T::CNAME
            | T::HTTPS
            | T::MX
            | T::NS
            | T::PTR
            | T::SOA
            | T::SRV
            | T::SVCB
            | T::TXT) => Service::LookUp(kind),
            _ => Service::Refuse,
        }
    }

    /// An answer without records.
    pub fn reply(&self, code: Rcode) -> Reply {
        Reply::new(&self.head, Some(&self.question), self.edns.as_ref(), code)
    }

    /// An answer with what was found, as far as it belongs to the question.
    pub fn answer(&self, found: Found) -> Reply {
        match found {
            Found::Records(records) => {
                let mut reply = self.reply(Rcode::NoError);
                let wanted = self.question.query_type();
                reply.message.answers = records
                    .into_iter()
                    .filter(|record| {
                        let kind = record.record_type();
                        kind == wanted || kind == RecordType::CNAME
                    })
                    .map(|record| self.in_the_askers_case(record))
                    .collect();
                reply
            }
            Found::Nothing { exists, authority } => {
                let mut reply = self.reply(if exists {
                    Rcode::NoError
                } else {
                    Rcode::NxDomain
                });
                reply
                    .message
                    .authorities
                    .extend(authority.map(|zone| *zone));
                reply
            }
        }
    }

    fn in_the_askers_case(&self, mut record: Record) -> Record {
        if &record.name == self.question.name() {
            record.name = self.question.name().clone();
        }
        record
    }
}

impl Unusable {
    fn silent() -> Box<Self> {
        Box::new(Self {
            reason: Reason::Malformed,
            reply: None,
        })
    }
}

impl Reply {
    fn new(head: &Metadata, question: Option<&Query>, edns: Option<&Edns>, code: Rcode) -> Self {
        let mut message = Message::response(head.id, head.op_code);
        message.metadata = Metadata::response_from_request(head);
        message.metadata.recursion_available = true;
        message.metadata.response_code = wire(code);
        message.queries.extend(question.cloned());
        // RFC 6891 section 6.1.1: an OPT is answered by one; the client's options are not.
        message.edns = edns.map(|asked| {
            let mut edns = Edns::new();
            edns.set_max_payload(LARGEST_DATAGRAM);
            // RFC 3225 section 3
            edns.set_dnssec_ok(asked.flags().dnssec_ok);
            edns
        });
        let room = edns.map_or(PLAIN_DATAGRAM, Edns::max_payload);
        Self {
            message,
            room: room.clamp(PLAIN_DATAGRAM, LARGEST_DATAGRAM).into(),
        }
    }

    /// How many records answer the question.
    pub const fn answers(&self) -> usize {
        self.message.answers.len()
    }

    /// What it says of itself.
    pub fn code(&self) -> Rcode {
        match self.message.metadata.response_code {
            ResponseCode::NoError => Rcode::NoError,
            ResponseCode::FormErr => Rcode::FormErr,
            ResponseCode::NXDomain => Rcode::NxDomain,
            ResponseCode::NotImp => Rcode::NotImp,
            ResponseCode::Refused => Rcode::Refused,
            ResponseCode::BADVERS => Rcode::BadVers,
            // No other is ever set.
            _ => Rcode::ServFail,
        }
    }

    /// As it is sent. What does not fit into a datagram says so and nothing else, so that the
    /// client asks again over TCP. `None` where it cannot be encoded at all.
    pub fn to_bytes(&self, transport: Transport) -> Option<Vec<u8>> {
        let whole = self.message.to_vec().ok()?;
        match transport {
            Transport::Udp if whole.len() > self.room => self.message.truncate().to_vec().ok(),
            Transport::Udp | Transport::Tcp => Some(whole),
        }
    }
}

/// The name under which the names of an address are found.
pub fn reverse(address: IpAddr) -> Name {
    Name::from(address)
}

const fn wire(code: Rcode) -> ResponseCode {
    match code {
        Rcode::NoError => ResponseCode::NoError,
        Rcode::FormErr => ResponseCode::FormErr,
        Rcode::ServFail => ResponseCode::ServFail,
        Rcode::NxDomain => ResponseCode::NXDomain,
        Rcode::NotImp => ResponseCode::NotImp,
        Rcode::Refused => ResponseCode::Refused,
        Rcode::BadVers => ResponseCode::BADVERS,
    }
}

const HEADER_BYTES: usize = 12;
/// RFC 1035 section 2.3.4
const PLAIN_DATAGRAM: u16 = 512;
/// What no path fragments (DNS flag day 2020).
const LARGEST_DATAGRAM: u16 = 1232;

#[cfg(test)]
mod tests;
