//! Octets, written as such.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Octets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Octets(pub(in super::super) Bytes);

impl Serialize for Octets {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Octets;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("octets")
            }

            fn visit_bytes<E>(self, octets: &[u8]) -> Result<Octets, E> {
                Ok(Octets(Bytes::copy_from_slice(octets)))
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}
