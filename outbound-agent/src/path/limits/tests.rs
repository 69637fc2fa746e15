use super::*;
use crate::model::traffic::{Pace, Traffic};

#[derive(Default)]
struct Uncounted;

impl Traffic for Uncounted {
    fn count_sent(&self, _bytes: usize) {}

    fn count_received(&self, _bytes: usize) {}

    fn passed(&self) -> u64 {
        0
    }
}

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

fn accounts() -> (tempfile::TempDir, Accounts) {
    let directory = tempfile::tempdir().unwrap();
    let accounts = Accounts::open(directory.path()).unwrap();
    (directory, accounts)
}

#[test]
fn a_place_is_free_again_when_it_is_dropped_and_each_tenant_has_its_own() {
    let (_directory, accounts) = accounts();
    let limits = Limits {
        connections: Some(1),
        ..Limits::default()
    };
    let (acme, globex) = (accounts.of(&tenant("acme")), accounts.of(&tenant("globex")));
    let first = acme.connect(&limits).ok();
    assert!(first.is_some());
    let over = acme.connect(&limits).err().map(|over| over.reason);
    assert_eq!(over, Some(Reason::TenantConnections));
    assert!(globex.connect(&limits).is_ok());
    drop(first);
    assert!(accounts.of(&tenant("acme")).connect(&limits).is_ok());
}

#[test]
fn requests_beyond_the_rate_are_told_when_to_come_again() {
    let (_directory, accounts) = accounts();
    let limits = Limits {
        requests_per_second: Some(1),
        requests_burst: Some(3),
        ..Limits::default()
    };
    let account = accounts.of(&tenant("acme"));
    for _ in 0..3 {
        assert_eq!(account.begin(&limits), Ok(()));
    }
    let over = account.begin(&limits).unwrap_err();
    assert_eq!(over.reason, Reason::RequestRate);
    assert!(over.retry_after.unwrap() <= Duration::from_secs(1));
}

#[test]
fn a_body_stops_at_its_limit() {
    let (_directory, accounts) = accounts();
    let limits = Limits {
        request_body: Some(10),
        ..Limits::default()
    };
    let account = accounts.of(&tenant("acme"));
    let place = account.request(&limits).ok().unwrap();
    let metered = Metered::exchange(Arc::new(Uncounted), &account, limits, place);
    metered.count_sent(10);
    assert_eq!(metered.pace_sent(), Pace::Go);
    metered.count_received(1000);
    assert_eq!(metered.pace_received(), Pace::Go);
    metered.count_sent(1);
    assert_eq!(metered.pace_sent(), Pace::Stop(Reason::BodyTooLarge));
    assert_eq!(metered.stop().reason(), Some(Reason::BodyTooLarge));
}

#[test]
fn bytes_beyond_the_rate_wait_each_way_for_itself() {
    let (_directory, accounts) = accounts();
    let limits = Limits {
        received_per_second: Some(1000),
        ..Limits::default()
    };
    let account = accounts.of(&tenant("acme"));
    let metered = Metered::tunnel(Arc::new(Uncounted), &account, limits);
    metered.count_received(3000);
    metered.count_sent(1_000_000);
    assert_eq!(metered.pace_sent(), Pace::Go);
    let Pace::Wait(wait) = metered.pace_received() else {
        panic!("it has to wait")
    };
    assert!(
        wait > Duration::from_secs(1) && wait < Duration::from_millis(2002),
        "{wait:?}"
    );
}

#[test]
fn a_quota_is_still_used_up_after_a_restart() {
    let (directory, accounts) = accounts();
    let limits = Limits {
        bytes_per_day: Some(100),
        ..Limits::default()
    };
    let account = accounts.of(&tenant("acme"));
    assert_eq!(account.begin(&limits), Ok(()));
    let metered = Metered::tunnel(Arc::new(Uncounted), &account, limits);
    metered.count_sent(60);
    assert_eq!(metered.pace_sent(), Pace::Go);
    metered.count_received(40);
    assert_eq!(metered.pace_received(), Pace::Stop(Reason::Quota));
    accounts.save().unwrap();

    let again = Accounts::open(directory.path()).unwrap();
    let over = again.of(&tenant("acme")).begin(&limits).unwrap_err();
    assert_eq!(over.reason, Reason::Quota);
    assert_eq!(again.of(&tenant("globex")).begin(&limits), Ok(()));
    again.save().unwrap();
    let thrice = Accounts::open(directory.path()).unwrap();
    assert!(thrice.of(&tenant("acme")).begin(&limits).is_err());
}
