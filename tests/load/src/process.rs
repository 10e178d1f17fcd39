//! What processes use, read from `/proc` by their ids.

use std::fs;

use anyhow::Context as _;

/// A process with a name for the report.
#[derive(Clone, Debug)]
pub struct Process {
    pub name: String,
    pub pid: u32,
}

impl std::str::FromStr for Process {
    type Err = anyhow::Error;

    /// `NAME=PID`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, pid) = text.split_once('=').context("must be NAME=PID")?;
        Ok(Self { name: name.to_owned(), pid: pid.parse()? })
    }
}

impl Process {
    /// This one.
    pub fn own() -> Self {
        Self { name: "generator".to_owned(), pid: std::process::id() }
    }

    /// Seconds of CPU so far, of all threads, those that have ended too; to 10 ms.
    pub fn cpu_s(&self) -> f64 {
        // Linux tells it in hundredths on every architecture (USER_HZ).
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        let after_name = stat.rsplit(") ").next().unwrap_or_default();
        after_name.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>()
            / 100.0
    }

    /// Bytes of memory in use (`VmRSS`).
    pub fn memory(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) * 1024.0
    }
}

/// CPU seconds of several processes since a moment.
pub struct CpuSince(Vec<(String, Process, f64)>);

impl CpuSince {
    pub fn now(processes: &[Process]) -> Self {
        let all = processes.iter().cloned().chain([Process::own()]);
        Self(all.map(|one| (one.name.clone(), one.clone(), one.cpu_s())).collect())
    }

    /// Name and seconds of each; the generator is the last.
    pub fn read(&self) -> Vec<(String, f64)> {
        self.0.iter().map(|(name, process, before)| (name.clone(), process.cpu_s() - before)).collect()
    }
}
