//! Figures of the process, from `/proc`, under the names that Prometheus clients use everywhere.

use super::page::Page;
use std::fs;

/// Adds memory, processor time, threads and open files; nothing where there is no `/proc`.
pub fn add(page: &mut Page) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let files = fs::read_dir("/proc/self/fd").ok().map(|dir| dir.count() as f64);
    for (name, value) in [
        ("process_resident_memory_bytes", kib(&status, "VmRSS:")),
        ("process_virtual_memory_bytes", kib(&status, "VmSize:")),
        ("process_threads", field(&status, "Threads:")),
        ("process_open_fds", files),
        ("process_cpu_seconds_total", cpu_seconds()),
    ] {
        if let Some(value) = value {
            page.add(name, &[], value);
        }
    }
}

/// The machine's name.
pub fn host_name() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
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
