//! Times and sizes: a whole number and its unit, never a bare number.

use std::time::Duration;

use super::TextKind;

/// A length of time.
pub(in crate::config) struct Time;

impl TextKind for Time {
    type Out = Duration;
    const ACCEPTED: &str = "a time above zero with its unit, ms, s, m or h, as in \"30s\"";

    fn parse(text: &str) -> Result<Duration, Option<String>> {
        let (number, unit) = number_and_unit(text).ok_or(None)?;
        let (_, millis) = TIMES.iter().find(|(name, _)| *name == unit).ok_or(None)?;
        let millis = number
            .checked_mul(*millis)
            .filter(|millis| (1..=MOST_MILLIS).contains(millis));
        millis.map(Duration::from_millis).ok_or(None)
    }

    fn show(value: &Duration) -> String {
        let millis = u64::try_from(value.as_millis()).unwrap_or(u64::MAX);
        in_largest_unit(millis, &TIMES)
    }
}

const TIMES: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
/// Ten years: further away a timer may not reach.
const MOST_MILLIS: u64 = 10 * 366 * 24 * 3_600_000;

/// An amount of memory.
pub(in crate::config) struct Size;

impl TextKind for Size {
    type Out = usize;
    const ACCEPTED: &str = "a size above zero with its unit, B, KiB, MiB or GiB, as in \"64KiB\"";

    fn parse(text: &str) -> Result<usize, Option<String>> {
        let (number, unit) = number_and_unit(text).ok_or(None)?;
        let (_, bytes) = SIZES.iter().find(|(name, _)| *name == unit).ok_or(None)?;
        let bytes = number
            .checked_mul(*bytes)
            .filter(|bytes| *bytes > 0)
            .ok_or(None)?;
        usize::try_from(bytes).map_err(|_too_large| None)
    }

    fn show(value: &usize) -> String {
        in_largest_unit(*value as u64, &SIZES)
    }
}

const SIZES: [(&str, u64); 4] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit))
}

fn in_largest_unit(value: u64, units: &[(&str, u64)]) -> String {
    let fits = units
        .iter()
        .rev()
        .find(|(_, factor)| value.is_multiple_of(*factor));
    fits.map_or_else(
        || value.to_string(),
        |(name, factor)| format!("{}{name}", value / factor),
    )
}
