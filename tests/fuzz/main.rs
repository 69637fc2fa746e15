//! What strangers send, in every form that chance makes of it: nothing panics, nothing hangs, and
//! what has to hold of every input holds.
//!
//! `cargo xtask fuzz` runs it: each target over its corpus first, then over so many inputs that
//! are made of it. What ends in a way not seen before is made more of. An input that fails is
//! left in the corpus, where it is run ever after.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::exit,
    reason = "a test fails by panicking, and says why"
)]

mod mutate;
mod stream;
mod client_hello;
mod http;
mod dns;
mod config;

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mutate::Mutator;

/// One thing that reads what strangers send.
struct Target {
    name: &'static str,
    /// Words of its language.
    dictionary: &'static [&'static [u8]],
    /// Reads an input, panics where something does not hold, and says how it ended.
    run: fn(&[u8]) -> u64,
}

const TARGETS: [Target; 4] = [
    client_hello::TARGET,
    http::TARGET,
    dns::TARGET,
    config::TARGET,
];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |what: &str| {
        let text = arguments.next().unwrap_or_else(|| panic!("no {what}"));
        text.parse::<u64>()
            .unwrap_or_else(|_| panic!("{text:?} is no {what}"))
    };
    let (runs, seed) = (number("number of runs"), number("seed"));
    let names: Vec<String> = arguments.collect();
    let is_wanted =
        |target: &&Target| names.is_empty() || names.iter().any(|name| name == target.name);
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    std::thread::spawn(watch);
    let mut failed = false;
    for target in TARGETS.iter().filter(is_wanted) {
        failed |= !fuzz(target, &corpus.join(target.name), runs, seed);
    }
    if failed {
        std::process::exit(1);
    }
}

/// Whether everything holds.
fn fuzz(target: &Target, corpus: &Path, runs: u64, seed: u64) -> bool {
    let started = Instant::now();
    let mut pool = read(corpus);
    let kept = pool.len();
    let mut endings = HashSet::new();
    for (path, input) in &pool {
        match attempt(target, input) {
            Ok(ending) => _ = endings.insert(ending),
            Err(why) => {
                println!("{}: {}: {why}", target.name, path.display());
                return false;
            }
        }
    }
    let mut mutator = Mutator::new(seed, target.dictionary);
    for run in 0..runs {
        let input = mutator.next(&pool);
        match attempt(target, &input) {
            Ok(ending) if endings.insert(ending) => pool.push((PathBuf::new(), input)),
            Ok(_) => {}
            Err(why) => {
                let path = corpus.join(format!("failed-{:016x}", hash(&input)));
                std::fs::write(&path, &input).unwrap();
                println!("{}: run {run} of seed {seed}: {why}", target.name);
                println!("  the input is in {}", path.display());
                return false;
            }
        }
    }
    println!(
        "{}: {kept} kept and {runs} made inputs, {} endings, {:.1} s",
        target.name,
        endings.len(),
        started.elapsed().as_secs_f64()
    );
    true
}

fn read(corpus: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let listing =
        std::fs::read_dir(corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display()));
    let mut paths: Vec<PathBuf> = listing.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", corpus.display());
    let read = |path: PathBuf| {
        let input = std::fs::read(&path).unwrap();
        (path, input)
    };
    paths.into_iter().map(read).collect()
}

/// How an input ended, or what the panic said.
fn attempt(target: &Target, input: &[u8]) -> Result<u64, String> {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let said = panic.payload_as_str().unwrap_or("a panic");
        *WHY.lock().unwrap() = format!("{said} ({})", place.unwrap_or_default());
    }));
    RUN.fetch_add(1, Ordering::Relaxed);
    catch_unwind(AssertUnwindSafe(|| (target.run)(input)))
        .map_err(|_payload| WHY.lock().unwrap().clone())
}

/// Ends everything where one run takes far longer than any should.
fn watch() {
    let mut before = 0;
    loop {
        std::thread::park_timeout(HANGING);
        let run = RUN.load(Ordering::Relaxed);
        if run == before {
            println!("an input hangs: run {run} of all");
            std::process::exit(1);
        }
        before = run;
    }
}

/// How something ended, as a number.
fn hash(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

static RUN: AtomicU64 = AtomicU64::new(0);
static WHY: Mutex<String> = Mutex::new(String::new());
const HANGING: Duration = Duration::from_secs(60);
