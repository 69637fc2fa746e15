use std::fs::{self, read_to_string};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Condvar;

use super::*;

const LONG: Duration = Duration::from_secs(30);

fn line(text: &str) -> Vec<u8> {
    format!("{text}\n").into_bytes()
}

#[track_caller]
fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline, "waited too long for: {what}");
        thread::yield_now();
    }
}

/// A target that refuses, or takes a few bytes at a time, as the test says.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Default)]
struct GateState {
    is_stuck: bool,
    /// How many bytes still fit.
    room: Option<usize>,
    taken: Vec<u8>,
}

impl Gate {
    fn set(&self, change: impl FnOnce(&mut GateState)) {
        change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.0.lock().unwrap().taken.clone()).unwrap()
    }
}

impl Sink for Gate {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let state = self.0.0.lock().unwrap();
        let mut state = self.0.1.wait_while(state, |state| state.is_stuck).unwrap();
        let count = lines.len().min(3).min(state.room.unwrap_or(usize::MAX));
        if count == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.room = state.room.map(|room| room - count);
        state.taken.extend_from_slice(&lines[..count]);
        Ok(count)
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.set(|state| {
            state.room = None;
            state.taken.clear();
        });
        Ok(())
    }
}

fn gated(required: bool, capacity: usize) -> (AccessLog, Gate) {
    let gate = Gate::default();
    let log = AccessLog::start(Box::new(gate.clone()), required, capacity).unwrap();
    (log, gate)
}

#[test]
fn lines_arrive_whole_and_in_order() {
    let (log, gate) = gated(false, 1_000);
    for number in 0..100 {
        log.write(line(&number.to_string()), Claim::Carried)
            .unwrap();
    }
    assert!(log.close(LONG));
    let expected: String = (0..100).map(|number| format!("{number}\n")).collect();
    assert_eq!(gate.text(), expected);
}

#[test]
fn a_full_queue_loses_lines_and_never_waits() {
    let (log, gate) = gated(false, 8);
    gate.set(|state| state.is_stuck = true);
    let results: Vec<_> = (0..10)
        .map(|_| log.write(line("x"), Claim::Carried))
        .collect();
    assert_eq!(results.iter().filter(|result| result.is_err()).count(), 2);
    assert!(log.writable(), "not required: egress goes on");
    gate.set(|state| state.is_stuck = false);
    assert!(log.close(LONG));
    assert_eq!(gate.text().lines().count(), 8);
}

#[test]
fn a_required_log_says_no_before_it_loses_and_yes_once_it_has_recovered() {
    let (log, gate) = gated(true, 8);
    gate.set(|state| state.is_stuck = true);
    for _ in 0..6 {
        assert!(log.writable());
        log.write(line("x"), Claim::Carried).unwrap();
    }
    assert!(!log.writable());
    log.write(line("under way"), Claim::Carried).unwrap();
    gate.set(|state| state.is_stuck = false);
    until("the log to recover", || log.writable());
}

#[test]
fn a_required_log_whose_target_refuses_says_no_and_keeps_what_it_has() {
    let (log, gate) = gated(true, 8);
    gate.set(|state| state.room = Some(0));
    log.write(line("kept"), Claim::Carried).unwrap();
    until("the refusal to be noticed", || !log.writable());
    gate.set(|state| state.room = None);
    until("the log to recover", || log.writable());
    assert!(log.close(LONG));
    assert_eq!(gate.text(), "kept\n");
}

#[test]
fn refusals_leave_half_of_the_queue_to_what_was_carried() {
    let (log, gate) = gated(false, 8);
    gate.set(|state| state.is_stuck = true);
    let refused = (0..20)
        .filter(|_| log.write(line("r"), Claim::Refused).is_ok())
        .count();
    assert_eq!(refused, 4);
    let carried = (0..20)
        .filter(|_| log.write(line("c"), Claim::Carried).is_ok())
        .count();
    assert_eq!(carried, 4);
    gate.set(|state| state.is_stuck = false);
}

#[test]
fn a_target_that_never_takes_anything_does_not_hold_up_the_end() {
    let (log, gate) = gated(false, 8);
    gate.set(|state| state.room = Some(0));
    log.write(line("x"), Claim::Carried).unwrap();
    assert!(log.close(LONG), "the thread gives up by itself");
    let (log, gate) = gated(false, 8);
    gate.set(|state| state.is_stuck = true);
    log.write(line("x"), Claim::Carried).unwrap();
    assert!(!log.close(Duration::from_millis(20)), "the deadline holds");
    gate.set(|state| state.is_stuck = false);
}

#[test]
fn lines_after_the_end_are_lost_and_said_to_be() {
    let (log, _gate) = gated(true, 8);
    assert!(log.close(LONG));
    assert_eq!(log.write(line("x"), Claim::Carried), Err(Lost));
    assert!(!log.writable());
}

#[test]
fn a_file_is_appended_to_and_found_again_after_a_rotation() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log/access.jsonl");
    let rotated = directory.path().join("log/access.jsonl.1");
    let target = Target::File(path.clone());
    let log = AccessLog::open(&target, false).unwrap();
    log.write(line("one"), Claim::Carried).unwrap();
    until("the first line", || {
        read_to_string(&path).unwrap() == "one\n"
    });
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o137, 0);
    fs::rename(&path, &rotated).unwrap();
    log.reopen();
    until("the file to be there again", || path.exists());
    log.write(line("two"), Claim::Carried).unwrap();
    drop(log);
    assert_eq!(read_to_string(&rotated).unwrap(), "one\n");
    assert_eq!(read_to_string(&path).unwrap(), "two\n");
    drop(AccessLog::open(&target, false).unwrap());
    assert_eq!(read_to_string(&path).unwrap(), "two\n");
}

#[test]
fn a_line_cut_by_a_rotation_is_written_whole_into_the_new_file() {
    let (log, gate) = gated(false, 8);
    gate.set(|state| state.room = Some(3));
    log.write(line("abcdef"), Claim::Carried).unwrap();
    until("the target to be full", || gate.text() == "abc");
    log.reopen();
    until("the whole line", || gate.text() == "abcdef\n");
}

#[test]
fn a_target_that_cannot_be_opened_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let target = Target::File(directory.path().to_owned());
    let error = AccessLog::open(&target, false).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("cannot open the access log /"),
        "{error}"
    );
}

#[tokio::test]
async fn followers_see_lines_from_when_they_came_and_hear_of_what_they_missed() {
    let (log, lines) = AccessLog::memory().unwrap();
    log.write(line("before"), Claim::Carried).unwrap();
    assert_eq!(
        lines.wait_for(LONG, |line| line == "before").as_deref(),
        Some("before")
    );
    let mut follower = log.subscribe();
    for number in 0..FOLLOWED_LINES + 1 {
        log.write(line(&number.to_string()), Claim::Carried)
            .unwrap();
    }
    let last = FOLLOWED_LINES.to_string();
    assert!(lines.wait_for(LONG, |line| line == last).is_some());
    assert_eq!(
        follower.recv().await,
        Err(broadcast::error::RecvError::Lagged(1))
    );
    assert_eq!(follower.recv().await.unwrap(), "1\n");
}
