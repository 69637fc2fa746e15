//! Inputs made of others, the same for the same seed.

use std::path::PathBuf;

use fastrand::Rng;

/// Makes inputs.
pub(crate) struct Mutator {
    rng: Rng,
    dictionary: &'static [&'static [u8]],
}

impl Mutator {
    pub(crate) fn new(seed: u64, dictionary: &'static [&'static [u8]]) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            dictionary,
        }
    }

    /// One of the pool with a few changes.
    pub(crate) fn next(&mut self, pool: &[(PathBuf, Vec<u8>)]) -> Vec<u8> {
        let mut input = self.one_of(pool).1.clone();
        for _ in 0..1 << self.rng.u32(0..4) {
            self.change(&mut input, pool);
        }
        input.truncate(LONGEST);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, pool: &[(PathBuf, Vec<u8>)]) {
        let at = self.rng.usize(..=input.len());
        let end = at + self.rng.usize(..=(input.len() - at).min(64));
        match self.rng.u32(0..9) {
            0 if at < input.len() => input[at] ^= 1 << self.rng.u32(0..8),
            1 if at < input.len() => input[at] = self.rng.u8(..),
            2 => drop(input.drain(at..end)),
            3 => {
                let again = input[at..end].to_vec();
                insert(input, at, &again);
            }
            4 => {
                let other = &self.one_of(pool).1;
                let from = self.rng.usize(..=other.len());
                let until = from + self.rng.usize(..=(other.len() - from).min(256));
                drop(input.splice(at..end, other[from..until].iter().copied()));
            }
            5 if !self.dictionary.is_empty() => {
                let word = self.dictionary[self.rng.usize(..self.dictionary.len())];
                insert(input, at, word);
            }
            6 => {
                let number = BOUNDARIES[self.rng.usize(..BOUNDARIES.len())].to_be_bytes();
                let width = 1 << self.rng.usize(0..3);
                let end = (at + width).min(input.len());
                drop(input.splice(at..end, number[4 - width..].iter().copied()));
            }
            7 => input.truncate(at),
            _ => {
                let noise: Vec<u8> = (0..self.rng.usize(..16)).map(|_| self.rng.u8(..)).collect();
                insert(input, at, &noise);
            }
        }
    }

    fn one_of<'a>(&mut self, pool: &'a [(PathBuf, Vec<u8>)]) -> &'a (PathBuf, Vec<u8>) {
        &pool[self.rng.usize(..pool.len())]
    }
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    drop(input.splice(at..at, bytes.iter().copied()));
}

/// Shorter than what `detect` reads of anything, so that it is one limit less to tell apart.
const LONGEST: usize = 48 * 1024;

const BOUNDARIES: [u32; 10] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0x8000,
    0xffff,
    u32::MAX,
];
