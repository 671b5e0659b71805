//! Figures of the process, from `/proc`, under the names that Prometheus clients use everywhere.

use super::families::Family;
use std::fs;

/// Memory, processor time and open files; nothing where there is no `/proc`.
pub fn families() -> Vec<Family> {
    let mut all = Vec::new();
    let mut gauge = |name: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            let mut family = Family::gauge(name, help);
            family.add(&[], value);
            all.push(family);
        }
    };
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    gauge("process_resident_memory_bytes", "Resident memory in bytes.", kib(&status, "VmRSS:"));
    gauge("process_virtual_memory_bytes", "Virtual memory in bytes.", kib(&status, "VmSize:"));
    gauge("process_threads", "Threads of the process.", field(&status, "Threads:"));
    let files = fs::read_dir("/proc/self/fd").ok().map(|dir| dir.count() as f64);
    gauge("process_open_fds", "Open file descriptors.", files);
    if let Some(seconds) = cpu_seconds() {
        let mut family = Family::counter("process_cpu_seconds_total", "Processor time, user and system, in seconds.");
        family.add(&[], seconds);
        all.push(family);
    }
    all
}

fn field(status: &str, name: &str) -> Option<f64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

fn kib(status: &str, name: &str) -> Option<f64> {
    field(status, name).map(|kib| kib * 1024.0)
}

fn cpu_seconds() -> Option<f64> {
    // Linux counts in hundredths of a second on every architecture that has a C library.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in parentheses and may hold spaces.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}
