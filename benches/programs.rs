//! What the benchmarks on a broker share: the programs, what a process used, and the machine.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Instant,
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The input's event time lies far in the past; nothing may be deleted by it.
pub const TEN_THOUSAND_DAYS_MS: &str = "864000000000";

/// The heap that Kafka Streams gets.
pub const HEAP: &str = "-Xmx512m";

/// What one process used.
#[derive(Clone, Copy)]
pub struct Used {
    pub cpu_s: f64,
    pub wall_s: f64,
    pub rss_mb: f64,
}

/// The Java programs beside Kafka Streams, built.
pub struct Java {
    args: Vec<String>,
}

impl Java {
    pub fn build() -> Self {
        let project = format!("{ROOT}/benches/kafka-streams");
        let target = PathBuf::from(std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| format!("{ROOT}/target")));
        let classes = target.join("kafka-streams");
        let built = format!("-DbuildDirectory={}", classes.display());
        let done = Command::new("mvn").args(["-q", "-B", "-f", &project, &built, "package"]).status();
        assert!(done.is_ok_and(|s| s.success()), "the Kafka Streams programs are built by Maven");
        let path = format!("{0}/classes:{0}/lib/*", classes.display());
        let args = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", &path, "bench.Main"];
        Self { args: args.map(str::to_owned).to_vec() }
    }

    pub fn command(&self, broker: &str, heap: &str, args: &[&str]) -> Command {
        let mut command = Command::new("java");
        command.arg(heap).args(&self.args).args(args).env("BOOTSTRAP", broker);
        command.stdout(Stdio::null()).stderr(Stdio::inherit());
        command
    }
}

/// The worker, built beside this program.
pub fn worker() -> PathBuf {
    let me = std::env::current_exe().expect("this program has a path");
    me.parent().and_then(|examples| examples.parent()).expect("target/release/examples").join("millstream")
}

/// Runs a process to its end and asks the operating system what it has used.
pub fn measure(mut command: Command) -> Used {
    let start = Instant::now();
    #[expect(clippy::zombie_processes, reason = "wait4 waits for it")]
    let child = command.stdout(Stdio::null()).spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let mut status = 0;
    // SAFETY: the pid is that of a child that nobody else waits for; the out parameters are ours.
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        libc::wait4(child.id() as i32, &raw mut status, 0, &raw mut usage);
        usage
    };
    assert_eq!(status, 0, "{command:?} failed");
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    Used {
        cpu_s: seconds(usage.ru_utime) + seconds(usage.ru_stime),
        wall_s: start.elapsed().as_secs_f64(),
        rss_mb: usage.ru_maxrss as f64 * 1024.0 / 1e6,
    }
}

/// A running program, which ends with its value.
pub struct Running(Child);

impl Running {
    pub fn start(mut command: Command) -> Self {
        Self(command.stdout(Stdio::null()).spawn().expect("the program starts"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// Cores, processor and memory.
pub fn machine() -> String {
    let first = |file: &str, key: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|l| l.starts_with(key)).unwrap_or_default();
        line.split(':').nth(1).unwrap_or_default().trim().to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cores} cores ({}, {})", first("/proc/cpuinfo", "model name"), first("/proc/meminfo", "MemTotal"))
}
