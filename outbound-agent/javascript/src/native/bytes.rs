//! The engine's bytes as Rust's: the one place that must look into its memory.
#![expect(
    unsafe_code,
    reason = "the engine hands out its buffers by pointer alone"
)]

use bytes::Bytes;
use rquickjs::{Ctx, Exception, FromJs, TypedArray, Value};

/// The content of a `Uint8Array`, copied.
pub(super) struct Octets(pub(super) Bytes);

impl<'js> FromJs<'js> for Octets {
    fn from_js(ctx: &Ctx<'js>, value: Value<'js>) -> rquickjs::Result<Self> {
        let array = TypedArray::<u8>::from_value(value)?;
        // SAFETY: the slice is copied before any JavaScript can run, and not kept.
        let copied = unsafe { array.as_bytes() }.map(Bytes::copy_from_slice);
        let detached = || Exception::throw_type(ctx, "the buffer is detached");
        copied.map(Self).ok_or_else(detached)
    }
}

/// Bytes as a new `Uint8Array`, which counts in the engine's heap.
pub(super) fn array<'js>(ctx: &Ctx<'js>, bytes: &[u8]) -> rquickjs::Result<Value<'js>> {
    Ok(TypedArray::<u8>::new_copy(ctx.clone(), bytes)?.into_value())
}
