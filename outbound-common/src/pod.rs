//! Every `unsafe impl aya::Pod`, in one place.
#![expect(
    unsafe_code,
    reason = "aya::Pod is an unsafe trait; aya offers no derive"
)]

use crate::{Account, Flow, FlowKey, ListenerEntry, Refusal, TenantEntry};

// SAFETY: repr(C), integers only, no padding (sizes asserted beside the type).
unsafe impl aya::Pod for Flow {}
// SAFETY: as above.
unsafe impl aya::Pod for Account {}
// SAFETY: as above.
unsafe impl aya::Pod for FlowKey {}
// SAFETY: as above.
unsafe impl aya::Pod for TenantEntry {}
// SAFETY: as above.
unsafe impl aya::Pod for ListenerEntry {}
// SAFETY: as above.
unsafe impl aya::Pod for Refusal {}
