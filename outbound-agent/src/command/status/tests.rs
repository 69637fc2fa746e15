use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::drain::Tasks;
use crate::observe::access_log::AccessLog;
use crate::observe::admin::view::{
    Assign, Assigned, Assignment, Cgroup, Dispatch, Dispatched, Feature, Judgement, Listener,
    Listens, Namespace, Question, Reload, Reloaded, Runs, TenantView, TrustView,
};
use crate::observe::admin::{Admin, AdminSocket, Refused, Subject};
use crate::observe::metrics::Metrics;
use crate::observe::readiness::Readiness;

struct Agent;

impl Subject for Agent {
    fn status(&self) -> Status {
        let feature = |name: &str, remedy: Option<&str>| Feature {
            name: name.to_owned(),
            present: remedy.is_none(),
            remedy: remedy.map(str::to_owned),
        };
        Status {
            version: "1.2.3".to_owned(),
            commit: Some("abc1234".to_owned()),
            pid: 7,
            started: "2026-01-31T00:00:00.000Z".to_owned(),
            ready: false,
            waiting_for: vec!["hooks".to_owned()],
            tenants: 2,
            assigned_cgroups: 1,
            dispatches: 3,
            namespaces: 0,
            listeners: vec![Listener {
                name: "metrics".to_owned(),
                address: "127.0.0.1:9464".to_owned(),
            }],
            pin_dir: PathBuf::from("/sys/fs/bpf/outbound"),
            attachments: attached(),
            shared_hooks: vec![SharedHook {
                cgroup: "/tenants.slice".into(),
                hook: "inet4_connect".to_owned(),
                programs: vec![
                    Runs {
                        name: "theirs".to_owned(),
                        ours: false,
                    },
                    Runs {
                        name: "connect4".to_owned(),
                        ours: true,
                    },
                ],
            }],
            features: vec![
                feature("comm", None),
                feature("families", Some("needs Linux 6.0")),
            ],
            trust: Some(TrustView::default()),
            configuration: Configuration {
                file: "/etc/outbound/outbound.toml".into(),
                since: "2026-01-31T00:00:00.000Z".to_owned(),
                reload: Some(Reload {
                    at: "2026-01-31T01:00:00.000Z".to_owned(),
                    by: "files".to_owned(),
                    applied: false,
                    error: Some("the configuration is wrong".to_owned()),
                    problems: Vec::new(),
                }),
            },
        }
    }

    fn check(&self, _question: &Question) -> Result<Judgement, Refused> {
        unreachable!("status judges nothing")
    }

    fn reload(&self) -> Result<Reloaded, Refused> {
        unreachable!("status changes nothing")
    }

    fn tenants(&self) -> Vec<TenantView> {
        Vec::new()
    }

    fn tenant(&self, _name: &str) -> Option<TenantView> {
        None
    }

    fn assignments(&self) -> Vec<Assignment> {
        Vec::new()
    }

    fn assign(&self, _assign: &Assign) -> Result<Assigned, Refused> {
        unreachable!("status assigns nothing")
    }

    fn unassign(&self, _cgroup: &Cgroup) -> Result<Assigned, Refused> {
        unreachable!("status assigns nothing")
    }

    fn dispatch(&self, _namespace: &str, _dispatch: &Dispatch) -> Result<Dispatched, Refused> {
        unreachable!("status dispatches nothing")
    }

    fn dispatches(&self, _namespace: &str) -> Result<Vec<Dispatched>, Refused> {
        unreachable!("status dispatches nothing")
    }

    fn dispatched(&self, _namespace: &str, _id: &str) -> Result<Dispatched, Refused> {
        unreachable!("status dispatches nothing")
    }

    fn end_dispatch(&self, _namespace: &str, _id: &str) -> Result<Dispatched, Refused> {
        unreachable!("status dispatches nothing")
    }

    fn listen_in(&self, _tenant: &str, _namespace: Namespace) -> Result<Listens, Refused> {
        unreachable!("status enters nothing")
    }
}

fn attached() -> Vec<Attachment> {
    [
        ("/tenants.slice", "connect4"),
        ("/other.slice", "egress"),
        ("/tenants.slice", "connect6"),
    ]
    .map(|(cgroup, program)| Attachment {
        cgroup: cgroup.into(),
        program: program.to_owned(),
    })
    .into()
}

fn serving() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("admin.sock");
    let (log, _lines) = AccessLog::memory().unwrap();
    let metrics = Metrics::new("1.2.3", None);
    let admin = Admin::new(
        metrics,
        Readiness::new(),
        log,
        Arc::new(Agent),
        Tasks::new(),
    );
    admin.serve_socket(AdminSocket::bind(&path, "no-such-group").unwrap());
    (directory, path)
}

async fn printed(socket: &Path, json: bool, left: Vec<Attachment>) -> (Answer, String) {
    let mut out = Vec::new();
    let answer = run(socket, json, || left, &mut out).await.unwrap();
    (answer, String::from_utf8(out).unwrap())
}

#[tokio::test]
async fn a_running_agent_is_shown_as_a_table() {
    let (_directory, socket) = serving();
    let (answer, text) = printed(&socket, false, Vec::new()).await;
    assert_eq!(answer.exit_code(), 0);
    assert_eq!(
        text,
        "\
agent       1.2.3 (abc1234), pid 7, since 2026-01-31T00:00:00.000Z
state       not ready, waiting for hooks
config      /etc/outbound/outbound.toml, since 2026-01-31T00:00:00.000Z
            NOT reloaded at 2026-01-31T01:00:00.000Z (files): the configuration is wrong
tenants     2 in 1 cgroup
dispatches  3
namespaces  the agent's own
listeners   127.0.0.1:9464  metrics
pinned at   /sys/fs/bpf/outbound
attached    /tenants.slice: connect4 connect6
            /other.slice: egress
others      /tenants.slice  inet4_connect: [theirs], connect4
kernel      comm: yes
            families: no; needs Linux 6.0
"
    );
}

#[tokio::test]
async fn json_is_the_agents_status_with_that_it_runs() {
    let (_directory, socket) = serving();
    let (_answer, text) = printed(&socket, true, Vec::new()).await;
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["running"], true);
    assert_eq!(value["attachments"][0]["program"], "connect4");
}

#[tokio::test]
async fn without_an_agent_what_is_attached_is_shown() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("admin.sock");
    let (answer, text) = printed(&socket, false, attached()).await;
    assert_eq!(answer.exit_code(), 1);
    assert!(text.starts_with("no agent answers on /"), "{text}");
    assert!(
        text.contains("\n          /tenants.slice: connect4 connect6\n"),
        "{text}"
    );
    assert!(text.contains("no egress"), "{text}");
    let (_answer, text) = printed(&socket, false, Vec::new()).await;
    assert!(text.contains("nothing is attached"), "{text}");
    let (answer, text) = printed(&socket, true, attached()).await;
    assert_eq!(answer, Answer::NotRunning);
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["running"], false);
    assert_eq!(value["attachments"][0]["cgroup"], "/other.slice");
}
