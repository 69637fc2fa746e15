//! Whether a rule's conditions hold.
//!
//! What cannot be told, as the path inside TLS that nobody ends, is neither yes nor no: a deny
//! then denies, an allow does not allow. So it is with what can be read in two ways, as a
//! header that is there twice: one of them is enough for a deny, an allow asks for all. A `when`
//! that cannot be evaluated is a truth of its own: whatever the rule does, it denies.

use std::borrow::Cow;
use std::net::IpAddr;

use http::HeaderMap;
use serde_json::Value;

use super::expression::{self, Answers};
use super::reading::{Readings, decoded};
use super::{Facts, Request, special};
use crate::model::expression::Failure;
use crate::model::host::Host;
use crate::model::pattern::Glob;
use crate::model::rule::{Action, Clause, Conditions, Presence};
use crate::model::tenant::Tenant;

/// Whether something holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    Yes,
    No,
    /// That cannot be told.
    Unknown,
    /// That cannot be evaluated.
    Failed(Failure),
}

impl Truth {
    /// What is no is no, whatever else cannot be told. What cannot be told may turn out to be no.
    pub(super) const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (failed @ Self::Failed(_), _) | (_, failed @ Self::Failed(_)) => failed,
            (Self::Yes, Self::Yes) => Self::Yes,
        }
    }

    pub(super) const fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Unknown | Self::Failed(_) => self,
        }
    }

    /// As [`Self::and`], from the other side.
    pub(super) const fn or(self, other: Self) -> Self {
        self.not().and(other.not()).not()
    }

    /// What holds of a thing that can be read in several ways.
    pub(super) const fn also(self, other: Self, action: Action) -> Self {
        match action {
            Action::Allow => self.and(other),
            Action::Deny => self.or(other),
        }
    }
}

impl From<bool> for Truth {
    fn from(is_so: bool) -> Self {
        if is_so { Self::Yes } else { Self::No }
    }
}

/// Whether a rule's conditions hold, apart from the address that a name turns out to have.
pub(super) fn holds(clause: &Clause, facts: &Facts<'_>) -> Truth {
    answers(clause, facts).at_best()
}

/// Whether a rule's conditions hold, for whatever its `when` asks about the address. That is
/// evaluated last, and only where everything else may hold.
pub(super) fn answers(clause: &Clause, facts: &Facts<'_>) -> Answers {
    let keys = keys_hold(clause, facts);
    match &clause.conditions.when {
        Some(when) if keys != Truth::No => {
            expression::answers(when, clause.action, facts).after(keys)
        }
        Some(_) | None => Answers::from(keys),
    }
}

fn keys_hold(clause: &Clause, facts: &Facts<'_>) -> Truth {
    let Conditions {
        methods: _,
        paths: _,
        query: _,
        headers: _,
        addresses: _,
        tenants,
        namespaces,
        parameters,
        executables,
        when: _,
    } = &clause.conditions;
    let is_among = |globs: &[Glob], text: &str| {
        globs.is_empty() || globs.iter().any(|glob| glob.matches(text))
    };
    let who = match facts.tenant {
        None if tenants.is_empty() && namespaces.is_empty() && parameters.is_empty() => Truth::Yes,
        None => Truth::Unknown,
        Some(tenant) => {
            let namespace = tenant.namespace.as_ref();
            let is_in = namespaces.is_empty()
                || namespace.is_some_and(|namespace| is_among(namespaces, &namespace.name));
            Truth::from(is_in && is_among(tenants, tenant.id.as_str()))
                .and(parameters_hold(clause, tenant))
        }
    };
    let process = match facts.executable {
        "" if !executables.is_empty() => Truth::Unknown,
        name => Truth::from(is_among(executables, name)),
    };
    let address = match facts.host {
        Host::Address(address) => Truth::from(has_address(clause, *address)),
        Host::Name(_) => Truth::Yes,
    };
    who.and(process)
        .and(address)
        .and(request_holds(clause, facts.request.as_ref()))
}

/// What a dispatch gave is what the operator said: it can be read in one way.
fn parameters_hold(clause: &Clause, tenant: &Tenant) -> Truth {
    let given = tenant.parameters.as_ref();
    let asked = clause.conditions.parameters.iter().map(|(way, presence)| {
        let mut keys = way.split('.');
        let first = keys.next().and_then(|key| given?.values().get(key));
        let value = keys.try_fold(first, |value, key| Some(value?.get(key)));
        let text = value.flatten().map(|value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        Sense(clause.action).presence(presence, text.iter().map(|text| Some(text.as_str())))
    });
    asked.fold(Truth::Yes, Truth::and)
}

/// Whether an address is one that the rule is for. An allow is for what is dialled, a deny for
/// every form of it.
pub(super) fn has_address(clause: &Clause, address: IpAddr) -> bool {
    let networks = &clause.conditions.addresses;
    let has = |form: IpAddr| networks.iter().any(|network| network.contains(&form));
    networks.is_empty()
        || match clause.action {
            Action::Allow => has(address.to_canonical()),
            Action::Deny => special::forms(address).any(has),
        }
}

fn request_holds(clause: &Clause, request: Option<&Request<'_>>) -> Truth {
    let conditions = &clause.conditions;
    if !conditions.keys_need_request() {
        return Truth::Yes;
    }
    let Some(request) = request else {
        return Truth::Unknown;
    };
    let method = conditions.methods.is_empty() || conditions.methods.contains(request.method);
    let sense = Sense(clause.action);
    Truth::from(method)
        .and(sense.path(conditions, request.path))
        .and(sense.query(conditions, request.query))
        .and(sense.headers(conditions, request.headers))
}

/// How what can be read in several ways is read.
#[derive(Clone, Copy)]
struct Sense(Action);

impl Sense {
    fn of<T>(self, mut ways: impl Iterator<Item = T>, is_so: impl FnMut(T) -> bool) -> bool {
        match self.0 {
            Action::Allow => ways.all(is_so),
            Action::Deny => ways.any(is_so),
        }
    }

    fn path(self, conditions: &Conditions, readings: &Readings<'_>) -> Truth {
        if conditions.paths.is_empty() {
            return Truth::Yes;
        }
        let is_one = |path| {
            let mut patterns = conditions.paths.iter();
            patterns.any(|pattern| pattern.matches(path))
        };
        match self.of(readings.each(), is_one) {
            false if readings.are_all() || self.0 == Action::Allow => Truth::No,
            false => Truth::Unknown,
            true if readings.are_all() || self.0 == Action::Deny => Truth::Yes,
            true => Truth::Unknown,
        }
    }

    fn query(self, conditions: &Conditions, query: Option<&str>) -> Truth {
        let asked = conditions.query.iter().map(|(key, presence)| {
            let values: Vec<_> = values_of(query, key).collect();
            self.presence(presence, values.iter().map(|value| Some(&**value)))
        });
        asked.fold(Truth::Yes, Truth::and)
    }

    fn headers(self, conditions: &Conditions, headers: &HeaderMap) -> Truth {
        let asked = conditions.headers.iter().map(|(name, presence)| {
            let values = headers.get_all(name).iter();
            self.presence(presence, values.map(|value| value.to_str().ok()))
        });
        asked.fold(Truth::Yes, Truth::and)
    }

    /// `None` is a value that is no text.
    #[expect(
        single_use_lifetimes,
        reason = "an elided lifetime is not allowed in `impl Iterator`"
    )]
    fn presence<'v>(
        self,
        presence: &Presence,
        mut values: impl Iterator<Item = Option<&'v str>>,
    ) -> Truth {
        let glob = match presence {
            Presence::Present => return Truth::from(values.next().is_some()),
            Presence::Absent => return Truth::from(values.next().is_none()),
            Presence::Value(glob) => glob,
        };
        let each = values
            .map(|value| value.map_or(Truth::Unknown, |value| Truth::from(glob.matches(value))));
        let of = |one: Truth, other: Truth| match self.0 {
            Action::Allow => one.and(other),
            Action::Deny if one == Truth::Yes || other == Truth::Yes => Truth::Yes,
            Action::Deny if one == Truth::Unknown || other == Truth::Unknown => Truth::Unknown,
            Action::Deny => Truth::No,
        };
        each.reduce(of).unwrap_or(Truth::No)
    }
}

/// The values of a key of a query (application/x-www-form-urlencoded).
pub(super) fn values_of<'q>(
    query: Option<&'q str>,
    key: &str,
) -> impl Iterator<Item = Cow<'q, str>> {
    pairs(query)
        .filter(move |(name, _value)| *name == key)
        .map(|(_name, value)| value)
}

/// The keys and values of a query; a key without `=` has an empty value.
pub fn pairs(query: Option<&str>) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let pairs = query.into_iter().flat_map(|query| query.split(['&', ';']));
    let pairs = pairs.filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (plain(key), plain(value))
    })
}

fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains('+') {
        return decoded(text);
    }
    Cow::Owned(decoded(&text.replace('+', " ")).into_owned())
}
