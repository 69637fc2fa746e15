//! The account of one DNS query.

use std::sync::Arc;

use super::line::Line;
use super::{Account, Opened, Records, Watched, Who, claim, ending_of_drop};
use crate::model::flow::Flow;
use crate::model::rcode::Rcode;
use crate::model::reason::Ending;
use crate::model::tenant::Tenant;
use crate::observe::labels::Kind;

/// How a query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    /// In a datagram.
    Udp,
    /// Over a connection.
    Tcp,
}

/// One query, from its arrival until its answer has gone out.
#[must_use = "a record dropped without an ending is logged as aborted"]
#[derive(Debug)]
pub struct QueryRecord {
    records: Records,
    who: Arc<Who>,
    transport: Transport,
    opened: Opened,
    question: Option<Question>,
    account: Account,
    reply: Option<Reply>,
    is_closed: bool,
}

#[derive(Debug)]
struct Question {
    name: Box<str>,
    kind: Box<str>,
}

#[derive(Clone, Copy, Debug)]
struct Reply {
    code: Rcode,
    answers: usize,
}

impl QueryRecord {
    pub(super) fn open(records: Records, who: Arc<Who>, transport: Transport) -> Self {
        Self {
            records,
            who,
            transport,
            opened: Opened::now(),
            question: None,
            account: Account::default(),
            reply: None,
            is_closed: false,
        }
    }

    /// Which server the workload asked, and whose it is, where that is known.
    pub fn identified(&mut self, flow: &Flow, tenant: Option<&Arc<Tenant>>) {
        let metrics = tenant.map_or_else(
            || Arc::clone(&self.who.metrics),
            |tenant| self.records.metrics.tenant(&tenant.id),
        );
        self.who = Arc::new(Who {
            downstream: self.who.downstream,
            tenant: tenant.cloned(),
            flow: Some(flow.clone()),
            metrics,
        });
    }

    /// What is asked for.
    pub fn question(&mut self, name: &str, kind: &str) {
        self.question = Some(Question {
            name: name.into(),
            kind: kind.into(),
        });
    }

    /// Policy allowed it, by this rule if by one; in audit mode, with the reason for which
    /// enforce mode would have denied it.
    pub fn allowed(&mut self, rule: Option<&str>, would_deny: Option<Watched<'_>>) {
        self.account.allowed(rule, would_deny);
    }

    /// Policy denied it by this rule. That it was denied is what the ending says.
    pub fn denied_by(&mut self, rule: &str) {
        self.account.rule = Some(rule.into());
    }

    /// What it is answered.
    pub const fn reply(&mut self, code: Rcode, answers: usize) {
        self.reply = Some(Reply { code, answers });
    }

    /// It has ended.
    pub fn close(mut self, ending: Ending) {
        self.finish(ending);
    }

    fn finish(&mut self, ending: Ending) {
        self.is_closed = true;
        let metrics = &self.who.metrics;
        if let Some(reply) = self.reply {
            metrics.query_answered(reply.code);
        }
        self.account.count(metrics, ending);
        self.records.write(&self.line(ending), claim(ending));
    }

    fn line(&self, ending: Ending) -> Line<'_> {
        let kind = match &self.who.tenant {
            Some(_) => Kind::Dns,
            None => Kind::SecurityEvent,
        };
        let mut line = Line::new(kind, self.opened);
        line.who(&self.who);
        line.network_transport = Some(match self.transport {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
        });
        line.network_protocol_name = Some("dns");
        if let Some(question) = &self.question {
            line.dns_question_name = Some(&question.name);
            line.dns_question_type = Some(&question.kind);
        }
        line.dns_response_code = self.reply.map(|reply| reply.code.label());
        line.dns_answers_count = self.reply.map(|reply| reply.answers);
        line.account(&self.account, ending);
        line.took(self.opened);
        line
    }
}

impl Drop for QueryRecord {
    fn drop(&mut self) {
        if !self.is_closed {
            self.finish(ending_of_drop());
        }
    }
}
