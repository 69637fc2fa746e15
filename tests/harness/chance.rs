//! Chance that can be had again: the same seed makes the same choices.

/// xorshift64.
#[derive(Debug)]
pub struct Chance(u64);

impl Chance {
    /// From what `OUTBOUND_STRESS_SEED` says, else from this.
    pub fn seeded(otherwise: u64) -> Self {
        Self(setting("OUTBOUND_STRESS_SEED", otherwise).max(1))
    }

    /// One of so many numbers, from 0.
    pub fn of(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// A number that a scheduled run may set in the environment.
pub fn setting(variable: &str, otherwise: u64) -> u64 {
    let set = std::env::var(variable).ok();
    set.map_or(otherwise, |set| set.parse().expect("a number"))
}
