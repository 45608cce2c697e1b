//! The processes of one cluster, in a pid namespace of their own: the end of one process ends all.

use anyhow::{Context, ensure};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

const INIT: &str = include_str!("init.sh");

/// A process of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// etcd.
    Etcd,
    /// kube-apiserver.
    ApiServer,
    /// kube-controller-manager.
    Controllers,
}

impl Part {
    /// The program's own name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::Controllers => "kube-controller-manager",
        }
    }
}

/// See the module. Its processes end with this value, and with the process that holds it however that ends.
pub(crate) struct Machine {
    folder: PathBuf,
    child: Child,
    pipes: Mutex<Option<(ChildStdin, BufReader<ChildStdout>)>>,
}

impl Machine {
    /// A machine without parts, that owns this folder.
    pub(crate) fn start(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder.join("log"))?;
        let mut unshare = Command::new("unshare");
        if fs::metadata("/proc/self")?.uid() != 0 {
            unshare.args(["--user", "--map-root-user"]);
        }
        let mut child = unshare
            .args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", INIT, "init"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // The terminal's Ctrl-C is for the test, whose end this waits for.
            .process_group(0)
            .spawn()
            .context("unshare")?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let pipes = stdin.zip(stdout.map(BufReader::new));
        Ok(Self { folder: folder.to_owned(), child, pipes: Mutex::new(pipes) })
    }

    /// Starts a part; what it says goes to `log/<part>.log`.
    pub(crate) fn run(&self, part: Part, program: &Path, arguments: &[String]) -> anyhow::Result<()> {
        let mut script = format!("exec {} {}", quoted(&program.to_string_lossy()), part.name());
        for argument in arguments {
            script.push_str(&format!(" \\\n  {}", quoted(argument)));
        }
        fs::write(self.folder.join(format!("{}.sh", part.name())), script + "\n")?;
        self.order("start", part)
    }

    /// `start`, `kill` (-9), `freeze` (SIGSTOP) or `thaw`; returns when it was done.
    pub(crate) fn order(&self, verb: &str, part: Part) -> anyhow::Result<()> {
        let answer = self.say(verb, part)?;
        ensure!(answer == verb, "the machine has ended");
        Ok(())
    }

    /// The part has not ended.
    pub(crate) fn is_alive(&self, part: Part) -> anyhow::Result<bool> {
        Ok(self.say("alive", part)? == "alive")
    }

    fn say(&self, verb: &str, part: Part) -> anyhow::Result<String> {
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        let (stdin, stdout) = pipes.as_mut().context("the machine is off")?;
        let order = format!("{verb} {}\n", part.name());
        stdin.write_all(order.as_bytes()).context("the machine has ended")?;
        let mut answer = String::new();
        stdout.read_line(&mut answer)?;
        Ok(answer.split(' ').next().unwrap_or_default().to_owned())
    }

    /// The end of what a part has said.
    pub(crate) fn last_words(&self, part: Part) -> String {
        let log =
            fs::read_to_string(self.folder.join(format!("log/{}.log", part.name()))).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.pipes.lock().unwrap_or_else(PoisonError::into_inner).take();
        let _ = self.child.wait();
    }
}

/// For sh.
fn quoted(argument: &str) -> String {
    format!("'{}'", argument.replace('\'', r"'\''"))
}
