//! Who takes part: the origins, the agent, the tenants' processes.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::plain;
use super::scene::{METRICS, ORIGIN_V4, ORIGIN_V6, Scene, wait_for};

const START: Duration = Duration::from_secs(20);

/// Starts the scripted origins and waits until they listen.
pub(super) fn start_origins(scene: &Scene) -> Result<Child> {
    let mut origins = plain("python3")
        .arg(scene.directory.join("origin.py"))
        .arg(&scene.directory)
        .args([ORIGIN_V4, ORIGIN_V6])
        .stdout(Stdio::piped())
        .stderr(File::create(scene.directory.join("origin.log"))?)
        .spawn()
        .context("cannot start python3")?;
    match lines(&mut origins)?.recv_timeout(START) {
        Ok(_ready) => Ok(origins),
        Err(_ended) => bail!("the origins did not start:\n{}", scene.tail("origin.log")),
    }
}

/// The agent, and how to do away with it.
pub(super) struct Agent {
    child: Child,
}

impl Agent {
    /// Starts it and waits until it says that it is ready.
    pub(super) fn start(scene: &Scene) -> Result<Self> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(scene.directory.join("agent.log"))?;
        let child = plain(&scene.binary.to_string_lossy())
            .args(["agent", "--config"])
            .arg(scene.config())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start the agent")?;
        let mut agent = Self { child };
        let ready = wait_for(START, || {
            if let Ok(Some(_ended)) = agent.child.try_wait() {
                return Some(false);
            }
            get("/readyz")
                .is_ok_and(|(status, _body)| status == 200)
                .then_some(true)
        });
        match ready {
            Some(true) => Ok(agent),
            Some(false) => bail!("the agent did not start:\n{}", scene.tail("agent.log")),
            None => bail!(
                "the agent is not ready after {}s:\n{}",
                START.as_secs(),
                scene.tail("agent.log")
            ),
        }
    }

    /// SIGKILL: no warning, no clearing up.
    pub(super) fn kill(mut self) -> Result<()> {
        self.child.kill().context("cannot kill the agent")?;
        self.child.wait().context("the agent did not die")?;
        Ok(())
    }
}

impl Scene {
    /// Runs a command as a tenant, to its end.
    pub(super) fn run(&self, tenant: &str, command: &[String]) -> Result<Output> {
        self.run_with(tenant, &[], command)
    }

    /// The same, dispatched with parameters.
    pub(super) fn run_with(
        &self,
        tenant: &str,
        parameters: &[&str],
        command: &[String],
    ) -> Result<Output> {
        self.as_tenant(tenant, parameters, command)
            .output()
            .context("cannot start `outbound run`")
    }

    /// The last lines of a file of the demo.
    pub(super) fn tail(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.directory.join(name)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    fn as_tenant(&self, tenant: &str, parameters: &[&str], command: &[String]) -> Command {
        let mut run = plain(&self.binary.to_string_lossy());
        run.args(["run", "--config"]).arg(self.config());
        run.args(["--tenant", tenant]);
        for parameter in parameters {
            run.args(["--param", parameter]);
        }
        run.arg("--").args(command);
        run
    }
}

/// A process of a tenant that goes on running: each line that it is given makes it try once,
/// and it answers with a line.
pub(super) struct Resident {
    input: ChildStdin,
    answers: Receiver<String>,
    _child: Child,
}

impl Resident {
    pub(super) fn start(scene: &Scene, tenant: &str, command: &[String]) -> Result<Self> {
        let mut child = scene
            .as_tenant(tenant, &[], command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start `outbound run`")?;
        Ok(Self {
            input: child.stdin.take().context("its input is a pipe")?,
            answers: lines(&mut child)?,
            _child: child,
        })
    }

    pub(super) fn tries(&mut self) -> Result<String> {
        self.input
            .write_all(b"\n")
            .context("the tenant's process is gone")?;
        self.answers
            .recv_timeout(START)
            .context("the tenant's process does not answer")
    }
}

/// `GET` from the agent's metrics port: status and body.
pub(super) fn get(path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(METRICS)?;
    stream.set_read_timeout(Some(START))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {METRICS}\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, body.to_owned()))
}

fn lines(child: &mut Child) -> Result<Receiver<String>> {
    let output = child.stdout.take().context("its output is a pipe")?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}
