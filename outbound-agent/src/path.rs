//! The stages, in the order in which a connection meets them.
//!
//! A stage takes the type that an earlier stage made and never calls a sibling. It returns an
//! ending; only the stories (`connection`, `exchange`) write it into a record.
//!
//! | | Stage | Takes | Gives |
//! |---|---|---|---|
//! | 1 | [`accept`] | listener | [`accept::Accepted`] |
//! | 2 | [`identify`] | `Accepted` | [`identify::Identified`] |
//! | 2b | [`limits`] | its tenant | a [`limits::Place`], or what limit is reached |
//! | 3 | [`detect`] | the stream | [`detect::Detected`] |
//! | 4 | [`tls`] | TLS bytes of a host whose requests are seen | [`tls::Plain`] |
//! | 5 | [`http`] | HTTP bytes | requests, [`http::normalize::Asked`] |
//! | 6 | [`policy`] | [`policy::Facts`] | [`policy::Verdict`], and with it the permit |
//! | 7 | [`worker`] | the permitted request of a tenant with a worker | that worker's response, its requests as errands |
//! | 8 | [`credentials`] | the permitted request | the request with what the tenant never holds |
//! | 9 | [`upstream`] | permit and request | the response |
//! | 9b | [`tunnel`] | both ends | both ends closed, bytes counted |
//! | D | [`dns`] | queries | [`dns::message::Asked`], and the answers |

pub mod accept;
pub mod identify;
pub mod limits;
pub mod detect;
pub mod tls;
pub mod http;
pub mod policy;
pub mod worker;
pub mod credentials;
pub mod upstream;
pub mod tunnel;
pub mod dns;
pub mod replay;
