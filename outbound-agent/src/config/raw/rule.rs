//! `[[policies.NAME.rules]]` and `[sets.NAME]`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Method, StatusCode};
use ipnet::IpNet;

use super::ModeText;
use crate::config::kind::compound::{InPlace, List, Optional, Placed};
use crate::config::kind::credential::{MethodText, PathPatternText};
use crate::config::kind::effect::{Edits, PathChange, RateText};
use crate::config::kind::rule::{
    AnyHeader, Few, GlobText, NetworkText, PortText, Presences, QueryKey, Spoken, SpokenText,
    StatusCodeText, WhenText,
};
use crate::config::kind::unit::Time;
use crate::config::kind::{Count, FilePath, TargetText, Text, words};
use crate::config::section::section;
use crate::model::expression::When;
use crate::model::pattern::{Glob, PathPattern};
use crate::model::policy::Mode;
use crate::model::rule::{Action, Edit, Extent, PathRewrite, Presence};
use crate::model::target::{Ports, Target};

section! {
    /// Rules that ask for more than a target, and do more than let through or refuse. All
    /// that a rule asks has to hold; of a list one entry. **A deny wins over every allow**; of
    /// the allows that hold the most specific one is what is done: an exact host before `*.`, a
    /// glob or a range, the longer of these before the shorter, `*` last; then the one with
    /// fewer schemes, the narrower port, the longer path and more conditions; then the one
    /// that is written first.
    ///
    /// What cannot be told, as the path inside TLS that is passed through, does not meet an
    /// allow and does meet a deny. A rule about requests makes TLS to its hosts end at the
    /// agent, where the policy's `tls` is `auto`.
    pub(in crate::config) struct Rule {
        /// Its name: in replies, in the log, and in `outbound check`.
        name: Placed<String> as InPlace<Text>;
        /// What it does.
        action: Action as ActionText;
        /// Targets that it is for, as in `allow` and `deny`; what they leave out, `port` and
        /// `scheme` say.
        host: Vec<Placed<Target>> as Few<InPlace<TargetText>>;
        /// The port.
        port: Vec<Ports> as Few<PortText> = Vec::new();
        /// What is spoken. `dns` is for the look-up of a name and nothing else. Without it an
        /// allow is for `http` and `https`, a deny for everything, and a rule that asks for
        /// something of a request for `http` and `https`.
        scheme: Vec<Spoken> as Few<SpokenText> = Vec::new();
        /// The request's method.
        methods: Vec<Method> as Few<MethodText> = Vec::new();
        /// The request's path, decoded. One that servers may read in two ways (dot segments,
        /// empty segments, encoded or backward slashes, parameters behind `;`, what is encoded
        /// twice) is judged in each of them: one is enough for a deny, an allow asks for all.
        paths: Vec<PathPattern> as Few<PathPatternText> = Vec::new();
        /// The request's query, by key. Of a key that is there more than once every value
        /// has to meet an allow, and one is enough for a deny.
        query: Vec<(Box<str>, Presence)> as Presences<QueryKey> = Vec::new();
        /// The request's headers, by name; likewise.
        headers: Vec<(HeaderName, Presence)> as Presences<AnyHeader> = Vec::new();
        /// The address that is dialled. An allow holds its hosts to these addresses; a deny
        /// refuses its hosts where they lead to one of them.
        addresses: Vec<IpNet> as Few<NetworkText> = Vec::new();
        /// Whose it is.
        tenants: Vec<Glob> as Few<GlobText> = Vec::new();
        /// The namespace that its tenant is in.
        namespaces: Vec<Glob> as Few<GlobText> = Vec::new();
        /// What the dispatch of its tenant gave, as in `{ "params_object.plan" = "pro" }`.
        parameters: Vec<(Box<str>, Presence)> as Presences<QueryKey> = Vec::new();
        /// The name of the process, as the kernel has it: at most 15 characters, and the
        /// process may change it. Good against mistakes, not against an attacker.
        executables: Vec<Glob> as Few<GlobText> = Vec::new();
        /// What the other keys cannot say, over the same facts: see
        /// [conditions.md](conditions.md). It is asked last, where everything else holds. One
        /// that cannot be evaluated denies the request, whatever the rule does.
        when: Option<Arc<When>> as Optional<WhenText> = None;
        /// Whether it binds; without it as the policy says. A deny in `audit` marks
        /// `would_deny`; an allow in `audit` lets through and marks what nothing else allows.
        mode: Option<Mode> as Optional<ModeText> = None;
        /// Of a deny: the status of the reply.
        status: Option<StatusCode> as Optional<StatusCodeText> = None;
        /// Of a deny: the hint in the reply.
        message: Option<String> as Optional<Text> = None;
        /// Of an allow: changes of the request's headers.
        request_headers: Vec<Edit> as Edits = Vec::new();
        /// Of an allow: changes of the response's headers.
        response_headers: Vec<Edit> as Edits = Vec::new();
        /// Of an allow: another host for the request, or `host:port`. It is decided again.
        rewrite_host: Option<Placed<Target>> as Optional<InPlace<TargetText>> = None;
        /// Of an allow: another path for the request. It is decided again.
        rewrite_path: Option<PathRewrite> as Optional<PathChange> = None;
        /// Of an allow: how much is logged. `full` adds the query and every header but those
        /// that carry secrets; `none` leaves out what was carried and ended well.
        log: Extent as ExtentText = Extent::default();
        /// Of an allow: headers of the request that are logged.
        log_headers: Vec<HeaderName> as List<AnyHeader> = Vec::new();
        /// Of an allow: keys of the query whose values are logged.
        log_query: Vec<Box<str>> as List<QueryKey> = Vec::new();
        /// Of an allow: for the upstream's response, instead of `response_header` in
        /// `[limits]`.
        timeout: Option<Duration> as Optional<Time> = None;
        /// Of an allow: which of its policy's credentials go with what it allows, where they are
        /// bound. Without it all of them do.
        credentials: Option<Vec<Placed<String>>> as Optional<List<InPlace<Text>>> = None;
        /// Of an allow, instead of the outbound worker of its tenant's namespace: another of
        /// `[services]`, or `"none"`. A tenant that has not been dispatched has no egress all
        /// the same.
        worker: Option<Placed<String>> as Optional<InPlace<Text>> = None;
        /// Of an allow: how often one tenant may; what is beyond is answered 429.
        rate: Option<f64> as Optional<RateText> = None;
        /// How many at once after a pause. Without it: as many as in a second, at least 1.
        burst: Option<usize> as Optional<Count> = None;
    }
}

section! {
    /// Hosts under a name: wherever a target stands, `@NAME` is each of them. Some are built
    /// in, see below.
    pub(in crate::config) struct Set {
        /// The hosts: names, `*.` names, globs, addresses and ranges; neither scheme nor port.
        hosts: Vec<Placed<Target>> as List<InPlace<TargetText>> = Vec::new();
        /// A file of more of them, one on a line; `#` begins a comment. It is read again
        /// when it changes.
        file: Option<Placed<PathBuf>> as Optional<InPlace<FilePath>> = None;
    }
}

words!(ActionText: Action, "\"allow\" or \"deny\"", {
    "allow" => Action::Allow,
    "deny" => Action::Deny,
});

words!(ExtentText: Extent, "\"full\", \"metadata\" or \"none\"", {
    "full" => Extent::Full,
    "metadata" => Extent::Metadata,
    "none" => Extent::None,
});
