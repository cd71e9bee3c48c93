//! What a process has used so far, as the system counts it.

use std::fs;
use std::time::Duration;

/// Length of the tick in which Linux tells processor time.
const TICK: Duration = Duration::from_millis(10);

/// Processor time of all threads, and the most memory at once.
pub struct Usage {
    pub processor: Duration,
    pub peak_mib: u64,
}

/// What a living process has used.
pub fn usage(pid: u32) -> Usage {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).expect("a living process");
    let stat = read("stat");
    // The second field, a name in parentheses, can hold spaces; utime and stime are the 14th and 15th.
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u32 = ticks.map(|ticks| ticks.parse::<u32>().expect("a number")).sum();
    let status = read("status");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    Usage { processor: TICK * ticks, peak_mib: peak_kib / 1024 }
}
