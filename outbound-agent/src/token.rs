//! Story 4: the agent asks for a token, for a credential. The operator's own
//! configuration names whom; no tenant has a say in it.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;

use crate::connection::Agent;
use crate::model::credential::Endpoint;
use crate::model::policy::{Mode, Policy};
use crate::model::target::Scheme;
use crate::path::credentials::oauth2::{Ask, Asked};
use crate::path::policy::{self, Facts, Verdict};

impl Ask for Agent {
    fn ask<'a>(&'a self, endpoint: &'a Endpoint, request: Request<Bytes>) -> Asked<'a> {
        let facts = Facts {
            tenant: None,
            executable: "",
            scheme: Scheme::Https,
            host: &endpoint.host,
            port: endpoint.port,
            request: None,
            is_foreseen: false,
        };
        // What the operator names may be anywhere, also in a private network.
        let policy = Arc::new(Policy {
            mode: Mode::Off,
            ..Policy::default()
        });
        let permit = match policy::decide(&policy, &facts) {
            Verdict::Allow(permit) => Ok(permit),
            Verdict::Deny(denial) => Err(denial.reason),
        };
        Box::pin(async move { self.upstream.ask(permit?, request).await })
    }
}
