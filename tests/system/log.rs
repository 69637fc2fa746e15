use std::fs;
use std::path::{Path, PathBuf};

use harness::host::lines_of;
use harness::sandbox::eventually;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::scene::{Prober, curl, host, origin};

#[test]
fn after_a_rotation_sighup_lets_lines_go_to_the_new_file() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    let agent = host.agent();
    curl(&host, "acme", "http://api.test/first").output();
    host.expect_log(&[("url.path", "/first")]);
    let (log, rotated) = (host.path("access.jsonl"), host.path("access.jsonl.1"));
    fs::rename(&log, &rotated).unwrap();
    curl(&host, "acme", "http://api.test/second").output();
    eventually("the old file is written on", || {
        (lines_of(&rotated).len() == 2).then_some(())
    });
    assert!(!log.exists());
    agent.process().signal(Signal::SIGHUP);
    eventually("the log is opened anew", || log.exists().then_some(()));
    curl(&host, "acme", "http://api.test/third").output();
    host.expect_log(&[("url.path", "/third")]);
    assert_eq!(host.log().len(), 1);
    assert_eq!(lines_of(&rotated).len(), 2);
    assert_eq!(agent.stop().code, 0);
}

#[test]
fn the_log_goes_to_standard_output_and_nothing_else_does() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    host.configure("access_log", "[access_log]\npath = \"stdout\"\n");
    let agent = host.agent();
    for path in ["/one", "/two"] {
        curl(&host, "acme", &format!("http://api.test{path}")).output();
    }
    let ended = agent.stop();
    let paths: Vec<_> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["url.path"].clone())
        .collect();
    assert_eq!(paths, ["/one", "/two"]);
}

/// A file system of 64 KiB, unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(directory: &Path) -> Self {
        fs::create_dir(directory).unwrap();
        let options = Some("size=64k");
        mount(
            Some("tmpfs"),
            directory,
            Some("tmpfs"),
            MsFlags::empty(),
            options,
        )
        .unwrap();
        Self(directory.to_owned())
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        let mut room = 64 * 1024;
        while room > 0 {
            let filler = self.0.join(format!("filler-{room}"));
            if fs::write(&filler, vec![0; room]).is_err() {
                fs::remove_file(&filler).unwrap();
                room /= 2;
            } else {
                break;
            }
        }
    }

    fn clear(&self) {
        for entry in fs::read_dir(&self.0).unwrap().flatten() {
            if entry.file_name().to_string_lossy().starts_with("filler") {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        umount2(&self.0, MntFlags::MNT_DETACH).unwrap();
    }
}

#[test]
fn a_required_log_on_a_full_disk_stops_egress_until_there_is_room() {
    let Some(host) = host() else { return };
    let origin = origin(&host);
    let disk = SmallDisk::mount(&host.path("disk"));
    let log = disk.0.join("access.jsonl");
    host.configure(
        "access_log",
        &format!("[access_log]\npath = {log:?}\nrequired = true\n"),
    );
    let agent = host.agent();
    let prober = Prober::start(&host, "acme");
    assert_eq!(prober.ask("/first"), "200");
    eventually("the first line", || {
        (!lines_of(&log).is_empty()).then_some(())
    });
    disk.fill();

    // The file's last page may have room for some lines more.
    let mut asked = 1;
    let mut carried = 1;
    eventually("egress stops", || {
        asked += 1;
        match prober.ask(&format!("/filling/{asked}/")).as_str() {
            "200" => carried += 1,
            "503" => return Some(()),
            other => panic!("{other}"),
        }
        None
    });
    assert_eq!(origin.requests().len(), carried);
    let answer = curl(&host, "acme", "http://api.test/stopped").output();
    asked += 1;
    let (body, status) = answer.rsplit_once('\n').unwrap();
    let reply: Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        (status, reply["reason"].as_str()),
        ("503", Some("log_unavailable"))
    );
    assert_eq!(origin.requests().len(), carried);
    let sample = "outbound_denials_total{reason=\"log_unavailable\",tenant=\"acme\"}";
    assert!(host.metric(sample).unwrap() >= 2.0);

    disk.clear();
    eventually("egress is back", || {
        asked += 1;
        let answer = prober.ask(&format!("/back/{asked}/"));
        (answer == "200").then(|| carried += 1)
    });
    assert_eq!(origin.requests().len(), carried);
    // Not a line is lost or written twice.
    eventually("every request is accounted for", || {
        let lines = lines_of(&log);
        assert!(lines.len() <= asked, "{} of {asked}", lines.len());
        (lines.len() == asked).then_some(())
    });
    let ended = agent.stop();
    for words in ["cannot be written", "can be written again"] {
        assert_eq!(ended.stderr.matches(words).count(), 1, "{}", ended.stderr);
    }
}
