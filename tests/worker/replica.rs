//! A worker process under test.

use std::{
    fs::File,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How to run a topology.
#[derive(Clone)]
pub struct Launch {
    program: &'static str,
    pub topology: &'static str,
    pub settings: Vec<(String, String)>,
    pub flags: Vec<&'static str>,
    /// Of its environment.
    pub variables: Vec<(&'static str, String)>,
    /// State and logs of replica `n` lie in `n` below it.
    pub directory: PathBuf,
}

impl Launch {
    /// A topology of application `application` on a broker.
    pub fn new(topology: &'static str, application: &str, broker: &str, directory: &Path) -> Self {
        let settings = [
            ("application.id", application),
            ("bootstrap.servers", broker),
            ("http.listen", "off"),
            ("session.timeout.ms", "6000"),
            ("replication.factor", "1"),
        ];
        let settings = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let program = env!("CARGO_BIN_EXE_millstream");
        Self { program, topology, settings, flags: Vec::new(), variables: Vec::new(), directory: directory.to_owned() }
    }

    /// The same for a topology that only tests have.
    pub fn of_tests(mut self) -> Self {
        self.program = env!("CARGO_BIN_EXE_test-worker");
        self
    }

    /// The same with another setting.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// The same with a flag.
    pub fn flag(mut self, flag: &'static str) -> Self {
        self.flags.push(flag);
        self
    }

    /// The same with a variable of its environment.
    pub fn variable(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// The directory of replica `number`.
    pub fn home(&self, number: usize) -> PathBuf {
        self.directory.join(number.to_string())
    }

    /// Starts replica `number`; it keeps state and log of its former run.
    pub fn start(&self, number: usize) -> Replica {
        let home = self.home(number);
        std::fs::create_dir_all(&home).expect("a directory");
        let mut command = Command::new(self.program);
        command.arg("run").arg(self.topology).args(&self.flags);
        command.arg("--set").arg(format!("state.dir={}", home.join("state").display()));
        for (key, value) in &self.settings {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        Replica::spawn(command, home.join("log"))
    }

    /// Runs one replica to its end.
    pub fn run(&self, number: usize, limit: Duration) {
        let mut replica = self.start(number);
        let status = replica.wait(limit);
        assert!(status.success(), "{status}; its log:\n{}", replica.log());
    }
}

/// A running worker; killed with its value.
pub struct Replica {
    child: Child,
    log: PathBuf,
    /// Bytes of the log that former runs left.
    log_start: usize,
}

impl Replica {
    /// Starts a process; what it says on standard error is appended to `log`.
    pub fn spawn(mut command: Command, log: PathBuf) -> Self {
        let file = File::options().create(true).append(true).open(&log).expect("a log file");
        let log_start = file.metadata().map_or(0, |m| m.len() as usize);
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        Self { child: command.spawn().expect("the process starts"), log, log_start }
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                return status;
            }
            assert!(Instant::now() < deadline, "no end within {limit:?}; its log:\n{}", self.log());
            thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// True while it runs.
    pub fn alive(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_none()
    }

    /// Where it serves, once it does (with the setting `http.listen=127.0.0.1:0`).
    pub fn address(&self) -> Option<String> {
        let log = std::fs::read_to_string(&self.log).ok()?;
        // Another process may serve on the port of a former run.
        let line = log.get(self.log_start..)?.lines().rfind(|l| l.contains("serving /metrics"))?;
        Some(line.split("address=").nth(1)?.split_whitespace().next()?.to_owned())
    }

    /// A page that it serves.
    pub fn page(&self, path: &str) -> Option<String> {
        let address = self.address()?;
        let mut stream = TcpStream::connect(address).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer.split_once("\r\n\r\n")?.1.to_owned())
    }

    /// The tasks of its first stream thread as `/tasks` shows them.
    pub fn tasks(&self) -> Vec<serde_json::Value> {
        let page = self.page("/tasks").and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
        page.and_then(|page| page["threads"][0]["tasks"].as_array().cloned()).unwrap_or_default()
    }

    /// The most memory that it had resident so far, in bytes; 0 once it has ended.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
        line.and_then(|l| l.trim().strip_suffix(" kB")?.parse::<u64>().ok()).map_or(0, |kb| kb * 1024)
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child of ours");
        self.child.wait().expect("a child of ours");
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(status.is_ok_and(|s| s.success()), "kill -{name}");
    }

    /// A sample of `/metrics`, by name and labels; `None` while the worker does not serve it.
    pub fn metric(&self, sample: &str) -> Option<f64> {
        let page = self.page("/metrics")?;
        page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
    }

    /// All of its log, former runs included.
    pub fn whole_log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        let text = self.whole_log();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
