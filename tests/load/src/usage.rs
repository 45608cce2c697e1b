//! What a process used: CPU to the nanosecond, memory, voluntary context switches.

use anyhow::{Context, Result};
use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// CPU and wake-ups of one process over time. Threads that have ended keep the last value that was seen, so sample
/// a few times a second.
#[derive(Debug, Default)]
pub struct Meter {
    pid: u32,
    threads: HashMap<String, Thread>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Thread {
    nanoseconds: u64,
    switches: u64,
}

/// Totals since the process began.
#[derive(Debug, Default, Clone, Copy)]
pub struct Used {
    /// User and system time.
    pub cpu: Duration,
    /// Times that a thread went to sleep by itself: wake-ups.
    pub switches: u64,
}

/// Bytes.
#[derive(Debug, Default, Clone, Copy)]
pub struct Memory {
    /// Resident now.
    pub resident: u64,
    /// Most ever resident.
    pub peak: u64,
}

impl Meter {
    /// A meter of a process that runs.
    pub fn new(pid: u32) -> Self {
        Self { pid, threads: HashMap::new() }
    }

    /// Reads every thread.
    pub fn sample(&mut self) -> Result<Used> {
        let folder = format!("/proc/{}/task", self.pid);
        let threads =
            fs::read_dir(&folder).with_context(|| format!("process {} has ended too early", self.pid))?;
        for thread in threads {
            let path = thread?.path();
            // A thread may end between the listing and the reading.
            let (Ok(schedule), Ok(status)) =
                (fs::read_to_string(path.join("schedstat")), fs::read_to_string(path.join("status")))
            else {
                continue;
            };
            let nanoseconds = schedule.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0);
            let switches = field(&status, "voluntary_ctxt_switches:").unwrap_or(0);
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.threads.insert(name, Thread { nanoseconds, switches });
        }
        let cpu = self.threads.values().map(|thread| Duration::from_nanos(thread.nanoseconds)).sum();
        Ok(Used { cpu, switches: self.threads.values().map(|thread| thread.switches).sum() })
    }
}

/// Memory of a process.
pub fn memory(pid: u32) -> Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kilobytes = |name| field(&status, name).with_context(|| format!("{name} of process {pid}"));
    Ok(Memory { resident: kilobytes("VmRSS:")? * 1024, peak: kilobytes("VmHWM:")? * 1024 })
}

fn field(status: &str, name: &str) -> Option<u64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_of_a_thread_that_has_ended_still_counts() {
        let mut meter = Meter::new(std::process::id());
        meter.threads.insert("ended".into(), Thread { nanoseconds: 7_000_000_000, switches: 5 });
        let used = meter.sample().unwrap();
        assert!(used.cpu >= Duration::from_secs(7), "{used:?}");
        assert!(used.switches >= 5);
    }

    #[test]
    fn a_field_is_read_by_its_whole_name() {
        let status = "nonvoluntary_ctxt_switches:\t9\nVmHWM:\t  12 kB\nvoluntary_ctxt_switches:\t3\n";
        assert_eq!(field(status, "voluntary_ctxt_switches:"), Some(3));
        assert_eq!(field(status, "VmHWM:"), Some(12));
        assert_eq!(field(status, "VmRSS:"), None);
    }

    #[test]
    fn this_process_has_memory() {
        let memory = memory(std::process::id()).unwrap();
        assert!(memory.resident > 0 && memory.peak >= memory.resident / 2);
    }
}
