//! The JavaScript engine of the outbound worker.
//!
//! Takes an operator's [`Module`], gives an [`Isolate`] that answers requests with it. What the
//! module asks of the world goes through a [`Host`]: this crate opens no socket and no file.
//! Bodies that the module does not read stay handles of the host and never pass through here.
//!
//! An isolate belongs to one thread: it runs in a current-thread tokio `LocalSet`. A module that
//! exceeds its processor time or its memory poisons the isolate ([`Isolate::poisoned`]): what ran
//! in it fails, and the owner makes a new one. The engine cannot interrupt everything; who runs
//! code that may be hostile watches the process from outside as well.

mod error;
mod fields;
mod host;
mod isolate;
mod limits;
mod message;
mod module;
mod native;

pub use error::{Poison, Position, WorkerError};
pub use fields::Fields;
pub use host::{Host, HostError, Jwt, Level, Local};
pub use isolate::{Bindings, Call, Decision, Env, Given, Isolate, Reply, Rest, Tunnel, Usage};
pub use limits::Limits;
pub use message::{Body, BodyError, BodyWriter, Chunks, RequestHead, ResponseHead};
pub use module::Module;
