//! CPU time and resident memory of a process, from the kernel (proc(5)).

use std::fs;

use anyhow::{Context, Result};

/// Ticks a second of `/proc/PID/stat`: the kernel's `USER_HZ`, which is 100 on every architecture that
/// Rust runs on.
const TICKS: f64 = 100.0;

/// CPU time of all its threads so far, in seconds; a child's is not counted.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
    // The second field is the name in parentheses, which may hold anything.
    let (_, fields) = stat.rsplit_once(')').context("a stat line has a name")?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut next = || fields.next().and_then(|field| field.parse::<f64>().ok());
    let (user, system) = (next(), next());
    Ok((user.context("utime")? + system.context("stime")?) / TICKS)
}

/// Memory of a process, in KiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Resident now.
    pub resident: f64,
    /// Resident at most, since its start.
    pub peak: f64,
}

/// The memory of a process now.
pub fn memory(pid: u32) -> Result<Memory> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
            .with_context(|| format!("{path} has no {name}"))
    };
    Ok(Memory {
        resident: field("VmRSS:")?,
        peak: field("VmHWM:")?,
    })
}

/// A machine in words: processor and number of cores, memory, kernel.
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':'))
            .map(|(_, value)| value.trim().to_owned())
    };
    let processor = value(&read("/proc/cpuinfo"), "model name");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = value(&read("/proc/meminfo"), "MemTotal")
        .and_then(|text| text.split(' ').next()?.parse::<f64>().ok())
        .unwrap_or_default();
    format!(
        "{cores} cores of {}, {:.0} GiB, Linux {}",
        processor.unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        memory / 1024.0 / 1024.0,
        read("/proc/sys/kernel/osrelease").trim()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_and_uses_time() {
        let me = std::process::id();
        let memory = memory(me).expect("we are there");
        assert!(memory.resident > 100.0 && memory.peak >= memory.resident);
        let before = cpu_seconds(me).expect("we are there");
        let mut sum = 0_u64;
        while cpu_seconds(me).expect("we are there") < before + 0.02 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(sum > 0);
    }
}
