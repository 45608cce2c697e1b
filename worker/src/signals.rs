//! What asks a process to end, from the moment in which it listens: a signal that comes while nobody waits is kept.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGTERM.
    Terminate,
    /// SIGINT, Ctrl-C.
    Interrupt,
}

/// Both, from now on.
#[derive(Debug)]
pub struct StopSignals {
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
}

impl StopSignals {
    /// Within a runtime with I/O.
    pub fn listen() -> Self {
        let listen = |kind| signal(kind).ok();
        Self { terminate: listen(SignalKind::terminate()), interrupt: listen(SignalKind::interrupt()) }
    }

    /// The next one.
    pub async fn next(&mut self) -> StopSignal {
        tokio::select! {
            () = heard(&mut self.terminate) => StopSignal::Terminate,
            () = heard(&mut self.interrupt) => StopSignal::Interrupt,
        }
    }
}

/// Never, where the kernel let nobody listen.
async fn heard(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}
