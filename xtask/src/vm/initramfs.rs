//! What the machine has before it sees this machine's files: busybox, the modules for that, and
//! the job.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::Job;
use super::cpio::Archive;
use super::kernel::Kernel;
use crate::shell::Shell;

const INIT: &str = include_str!("init.sh");

/// For this machine's files, and a file system on top that forgets.
const MODULES: [&str; 4] = ["virtio_pci", "9pnet_virtio", "9p", "overlay"];

/// Writes the archive; gives its path.
pub(super) fn write(shell: &Shell, kernel: &Kernel, busybox: &Path, job: &Job) -> Result<PathBuf> {
    let mut archive = Archive::default();
    for directory in ["bin", "dev", "modules"] {
        archive.directory(directory);
    }
    archive.console();
    archive.file("bin/busybox", &read(busybox)?);
    archive.file("init", INIT.as_bytes());
    let mut order = String::new();
    for file in kernel.load_order(&MODULES)? {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        archive.file(&format!("modules/{name}"), &read(&file)?);
        order.push_str(&format!("/modules/{name}\n"));
    }
    archive.file("modules/order", order.as_bytes());
    let modules = kernel.modules();
    archive.file(
        "modules/directory",
        modules.display().to_string().as_bytes(),
    );
    archive.file("job", script(shell, job).as_bytes());
    let path = shell
        .target()
        .join(format!("vm/initramfs-{}", kernel.release()));
    fs::write(&path, archive.finish())
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// What is run in the machine. The second serial line takes the exit codes, so that nothing that
/// is printed can be taken for one.
fn script(shell: &Shell, job: &Job) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    let path = |path: &Path| quoted(&path.display().to_string());
    let arguments: Vec<String> = job.arguments.iter().map(|word| quoted(word)).collect();
    format!(
        "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root NO_COLOR=1\n\
         export OUTBOUND_TESTS_NO_SKIP=1 OUTBOUND_BIN={outbound}\n\
         cd {root}\n\
         {tests} --color never --show-output {arguments}\n\
         tests=$?\n\
         {outbound} doctor\n\
         echo \"$tests $?\" > /dev/ttyS1\n\
         echo o > /proc/sysrq-trigger\n\
         sleep 60\n",
        outbound = path(&job.outbound),
        tests = path(&job.tests),
        root = path(shell.root()),
        arguments = arguments.join(" "),
    )
}
