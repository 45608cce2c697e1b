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
/// What is killed stays away until it is started again.
const SHARED: &str = r#"keeps=
run() { sh "./$1.sh" >>"log/$1.log" 2>&1 </dev/null & echo $! >"$1.pid"; }
tidy() { :; }"#;

/// A process of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// etcd.
    Etcd,
    /// kube-apiserver.
    ApiServer,
    /// kube-controller-manager.
    Controllers,
    /// kube-scheduler.
    Scheduler,
    /// containerd; its containers live on without it.
    Containerd,
    /// The kubelet; its pods live on without it.
    Kubelet,
    /// kube-proxy; its rules stay without it.
    Proxy,
    /// What enforces NetworkPolicies, where it was asked for; its rules stay without it.
    Policies,
}

impl Part {
    /// The program's own name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::Controllers => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Containerd => "containerd",
            Self::Kubelet => "kubelet",
            Self::Proxy => "kube-proxy",
            Self::Policies => "policies",
        }
    }
}

/// Where a machine's processes live, besides a pid namespace of their own.
pub(crate) enum Surroundings {
    /// The network and files of this process.
    Shared,
    /// A network and mounts of their own; `prepare` is the shell text that sets them up and defines what `init.sh` asks
    /// for. Descriptor 9 is the network of this process.
    Own {
        /// Shell text.
        prepare: String,
    },
}

/// See the module. Its processes end with this value, and with the process that holds it however that ends.
pub(crate) struct Machine {
    folder: PathBuf,
    child: Child,
    pipes: Mutex<Option<(ChildStdin, BufReader<ChildStdout>)>>,
}

impl Machine {
    /// A machine without parts, that owns this folder.
    pub(crate) fn start(folder: &Path, surroundings: &Surroundings) -> anyhow::Result<Self> {
        fs::create_dir_all(folder.join("log"))?;
        let mut unshare = Command::new("sh");
        unshare.args(["-c", r#"exec 9</proc/self/ns/net; exec unshare "$@""#, "unshare"]);
        if fs::metadata("/proc/self")?.uid() != 0 {
            unshare.args(["--user", "--map-root-user"]);
        }
        let prepare = match surroundings {
            Surroundings::Shared => SHARED,
            Surroundings::Own { prepare } => {
                unshare.args(["--net", "--mount"]);
                prepare
            }
        };
        let script = format!("{prepare}\nexec 9<&-\n{INIT}");
        let mut child = unshare
            .args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", &script, "init"])
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

    /// Starts a part of the cluster program; what it says goes to `log/<part>.log`.
    pub(crate) fn run(&self, part: Part, program: &Path, arguments: &[String]) -> anyhow::Result<()> {
        self.exec(part, &format!("{} {}", quoted(&program.to_string_lossy()), part.name()), arguments)
    }

    /// Starts a part that is a program of its own, found by its name.
    pub(crate) fn run_installed(&self, part: Part, arguments: &[String]) -> anyhow::Result<()> {
        self.exec(part, part.name(), arguments)
    }

    /// Starts a part that is this program.
    pub(crate) fn run_own(&self, part: Part, program: &Path, arguments: &[String]) -> anyhow::Result<()> {
        self.exec(part, &quoted(&program.to_string_lossy()), arguments)
    }

    fn exec(&self, part: Part, command: &str, arguments: &[String]) -> anyhow::Result<()> {
        // Exec keeps the id.
        let mut script = format!("echo $$ >{}.pid\nexec {command}", part.name());
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
