//! Children that end with us, and ports that the kernel chose.

use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// A child process: killed by its pid when dropped, and by the kernel when we are killed.
#[derive(Debug)]
pub struct Running {
    child: Child,
    name: String,
}

/// A command whose process dies with this one (`setpriv --pdeathsig`); start it from the main thread, because the
/// kernel watches the thread that started it. `core` pins it.
pub fn command(program: impl AsRef<OsStr>, core: Option<usize>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]);
    if let Some(core) = core {
        command.args(["taskset", "-c", &core.to_string()]);
    }
    command.arg(program).stdin(Stdio::null());
    command
}

impl Running {
    /// Starts it.
    pub fn start(name: &str, command: &mut Command) -> Result<Self> {
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { child, name: name.to_owned() })
    }

    /// Its pid: `setpriv` and `taskset` become the program.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error when it has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} has ended ({status}); run it with its output shown", self.name),
        }
    }

    /// Lines of its piped standard output, as they come.
    pub fn lines(&mut self) -> Result<Receiver<String>> {
        let output = self.child.stdout.take().with_context(|| format!("output of {}", self.name))?;
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(lines)
    }

    /// The child's own handle, for its other pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A free TCP port of loopback.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Waits until something listens on a loopback port, without connecting: `ffmpeg -listen 1` takes only one connection.
pub fn until_listening(port: u16, of: &mut Running) -> Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(30) {
        of.check()?;
        if has_socket(&fs::read_to_string("/proc/net/tcp")?, port, LISTENS) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    bail!("{} does not listen on port {port}", of.name)
}

/// Waits until somebody has connected to a loopback port, and says when. Watching from outside leaves the connection
/// alone: a relay would acknowledge in the receiver's place, and a publisher's small writes wait for that.
pub fn until_connected(port: u16) -> Result<Instant> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(30) {
        if has_socket(&fs::read_to_string("/proc/net/tcp")?, port, ESTABLISHED) {
            return Ok(Instant::now());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    bail!("nobody connects to port {port}")
}

const LISTENS: &str = "0A";
const ESTABLISHED: &str = "01";

/// Whether `/proc/net/tcp` has a socket in that state on that local port.
fn has_socket(table: &str, port: u16, state: &str) -> bool {
    let suffix = format!(":{port:04X}");
    table.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next().is_some_and(|local| local.ends_with(&suffix)) && words.nth(1) == Some(state)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_and_its_first_connection_are_seen_from_outside() {
        let table = || fs::read_to_string("/proc/net/tcp").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(has_socket(&table(), port, LISTENS));
        assert!(!has_socket(&table(), port, ESTABLISHED));
        let _peer = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert!(until_connected(port).is_ok());
        drop(listener);
        assert!(!has_socket(&table(), port, LISTENS));
    }

    #[test]
    fn a_dropped_child_is_gone() {
        let running = Running::start("sleep", command("sleep", None).arg("60")).unwrap();
        let pid = running.pid();
        drop(running);
        assert!(fs::read_to_string(format!("/proc/{pid}/status")).is_err());
    }
}
