//! What a module asks of its surroundings.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use crate::message::{Body, RequestHead, ResponseHead};

/// A future that stays on its thread.
pub type Local<T> = Pin<Box<dyn Future<Output = T>>>;

/// The surroundings of an isolate. Its futures are dropped when the invocation ends.
pub trait Host {
    /// Sends a request that invocation `call` makes; redirects are not followed here.
    fn fetch(
        &self,
        call: u64,
        head: RequestHead,
        body: Body,
    ) -> Local<Result<(ResponseHead, Body), HostError>>;

    /// The next chunk of [`Body::Handle`]; `None` after its proper end. A body that was cut
    /// short is an error.
    fn read(&self, handle: u64) -> Local<Result<Option<Bytes>, HostError>>;

    /// The rest of [`Body::Handle`] is not wanted. Called at most once per handle, and not for
    /// one that was handed on or read to its end.
    fn cancel(&self, handle: u64);

    /// A line of `console`, for the operator.
    fn console(&self, call: u64, level: Level, text: &str);

    /// A JSON Web Token with these claims, signed with the secret of this binding.
    ///
    /// `expires_in` is what the module asked for, if anything.
    fn sign_jwt(
        &self,
        secret: &str,
        claims: Value,
        expires_in: Option<Duration>,
    ) -> Local<Result<Jwt, HostError>>;
}

/// What a host could not do. The module sees the text as a `TypeError`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HostError {
    /// What went wrong, as the module may know it.
    pub message: String,
}

impl HostError {
    /// An error with this text.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }
}

/// A signed token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwt {
    /// In compact form.
    pub token: String,
    /// How long the same token may be given out again for the same claims.
    pub reusable: Duration,
}

/// How loud a line of `console` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// `console.debug` and `console.trace`.
    Debug,
    /// `console.log` and `console.info`.
    Info,
    /// `console.warn`.
    Warn,
    /// `console.error` and a failed `console.assert`.
    Error,
}
