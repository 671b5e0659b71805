//! Databases and caches of Debian's packages, each started on a free port by the test that needs it.

use std::{
    collections::BTreeMap,
    io::Write,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Ends process `$1` and removes its directory `$2` once the test process has ended, however it ended.
const SENTINEL: &str = r#"trap '' INT TERM HUP; cat >/dev/null; kill -9 "$1" 2>/dev/null; sleep 0.2; rm -rf "$2""#;
const LIMIT: Duration = Duration::from_secs(60);

/// A running server; ends with its value.
pub struct Part {
    kind: Kind,
    directory: tempfile::TempDir,
    pub port: u16,
    /// The server, and who ends it when this process can't.
    running: Option<(Child, Child)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Postgres,
    Redis,
    Mosquitto,
}

impl Part {
    /// PostgreSQL with a user `postgres` and a database of that name.
    pub fn postgres() -> Self {
        let part = Self::new(Kind::Postgres);
        let data = part.data();
        let made = plain("initdb").arg("-D").arg(&data).args(["-A", "trust", "-U", "postgres", "--no-sync"]).output();
        let made = made.expect("initdb runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        part.started()
    }

    /// Redis that keeps every write on disk.
    pub fn redis() -> Self {
        Self::new(Kind::Redis).started()
    }

    /// Mosquitto, which keeps all that waits for a client, also over a stop.
    pub fn mosquitto() -> Self {
        let part = Self::new(Kind::Mosquitto);
        let settings = [
            format!("listener {} 127.0.0.1", part.port),
            format!("persistence_location {}/", part.directory.path().display()),
            "persistence true\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 1000\n".to_owned(),
        ];
        std::fs::write(part.data(), settings.join("\n")).expect("the settings are written");
        part.started()
    }

    fn new(kind: Kind) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        if is_root() {
            let status = Command::new("chown").arg("nobody").arg(directory.path()).status();
            assert!(status.is_ok_and(|s| s.success()), "chown");
        }
        let port = TcpListener::bind(("127.0.0.1", 0)).expect("a free port").local_addr().expect("it is bound").port();
        Self { kind, directory, port, running: None }
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn command(&self) -> Command {
        let (port, home) = (self.port.to_string(), self.directory.path());
        let mut command;
        match self.kind {
            Kind::Postgres => {
                command = plain("postgres");
                command.arg("-D").arg(self.data()).arg("-k").arg(home).args(["-p", &port, "-h", "127.0.0.1", "-F"]);
            }
            Kind::Redis => {
                command = plain("redis-server");
                command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]);
                command.args(["--appendfsync", "always", "--dir"]).arg(home);
            }
            Kind::Mosquitto => {
                command = plain("mosquitto");
                command.arg("-c").arg(self.data());
            }
        }
        command
    }

    fn started(mut self) -> Self {
        self.start();
        self
    }

    /// Starts the server, again on the same data after [`Part::stop`], and waits until it serves.
    pub fn start(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.directory.path().join("log"));
        let log = log.expect("a log file");
        let mut command = self.command();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("the server starts");
        let arguments = ["-c", SENTINEL, "sh", &child.id().to_string()];
        let mut sentinel = Command::new("sh");
        sentinel.args(arguments).arg(self.directory.path()).stdin(Stdio::piped()).stdout(Stdio::null());
        let sentinel = sentinel.stderr(Stdio::null()).spawn().expect("sh runs");
        self.running = Some((child, sentinel));
        let deadline = Instant::now() + LIMIT;
        while !self.serves() {
            assert!(Instant::now() < deadline, "{:?} does not serve: {}", self.kind, self.log());
            thread::park_timeout(Duration::from_millis(20));
        }
    }

    fn serves(&self) -> bool {
        match self.kind {
            Kind::Postgres => self.ask("psql", &["-c", "SELECT 1"]).is_some(),
            Kind::Redis => self.ask("redis-cli", &["PING"]).is_some_and(|answer| answer.contains("PONG")),
            Kind::Mosquitto => self.ask("mosquitto_pub", &["-t", "serves", "-n"]).is_some(),
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Ends the server, PostgreSQL and Redis without a word; its data stays.
    pub fn stop(&mut self) {
        let Some((mut server, mut sentinel)) = self.running.take() else { return };
        // Nobody removes the directory of a server that may start again.
        let _ = sentinel.kill();
        let _ = sentinel.wait();
        match self.kind {
            // So that it takes its children along.
            Kind::Postgres => drop(Command::new("kill").arg("-QUIT").arg(server.id().to_string()).status()),
            Kind::Redis => drop(server.kill()),
            // It writes its data at its end.
            Kind::Mosquitto => drop(Command::new("kill").arg(server.id().to_string()).status()),
        }
        let _ = server.wait();
    }

    /// Standard output of a client; `None` when it fails.
    fn ask(&self, client: &str, arguments: &[&str]) -> Option<String> {
        let port = self.port.to_string();
        let mut command = Command::new(client);
        match self.kind {
            Kind::Postgres => command.args(["-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-X", "-At"]),
            Kind::Redis | Kind::Mosquitto => command.args(["-h", "127.0.0.1", "-p", &port]),
        };
        let output = command.args(arguments).stdin(Stdio::null()).output().expect("the client runs");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Rows of a query, columns separated by `|`; nothing while there is no such table.
    pub fn query(&self, sql: &str) -> Vec<String> {
        self.ask("psql", &["-c", sql]).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// What PostgreSQL's clients connect with.
    pub fn database(&self) -> String {
        format!("host=127.0.0.1 port={} user=postgres", self.port)
    }

    /// Where Redis' clients connect to.
    pub fn cache(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Gives Mosquitto messages of a topic, in this order; each is acknowledged.
    pub fn publish(&self, topic: &str, messages: &[String]) {
        let mut command = Command::new("mosquitto_pub");
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-q", "1", "-l", "-t", topic]);
        let mut client = command.stdin(Stdio::piped()).spawn().expect("mosquitto_pub runs");
        let mut input = client.stdin.take().expect("a pipe");
        messages.iter().for_each(|message| writeln!(input, "{message}").expect("it reads"));
        drop(input);
        assert!(client.wait().is_ok_and(|status| status.success()), "mosquitto_pub");
    }

    /// The rows of a sink in Redis, by key: `source@offset`, a blank and the value unless the row is deleted.
    pub fn hashes(&self, pattern: &str) -> BTreeMap<String, String> {
        let script = "local found = {} \
                      for _, key in ipairs(redis.call('KEYS', ARGV[1])) do \
                        local row = redis.call('HMGET', key, 'source', 'offset', 'value') \
                        found[#found + 1] = key \
                        found[#found + 1] = row[1] .. '@' .. row[2] .. (row[3] and ' ' .. row[3] or '') \
                      end return found";
        let answer = self.ask("redis-cli", &["EVAL", script, "0", pattern]).unwrap_or_default();
        let lines: Vec<&str> = answer.lines().filter(|line| !line.is_empty()).collect();
        lines.chunks_exact(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.stop();
    }
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().expect("id runs");
    output.stdout == b"0\n"
}

/// A program of a server: PostgreSQL refuses to run as root. Debian keeps its programs away from the path.
fn plain(program: &str) -> Command {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<_> = versions.map(|v| v.path().join("bin").join(program)).filter(|p| p.exists()).collect();
    found.sort();
    let system = Path::new("/usr/sbin").join(program);
    let path = found.pop().or(system.exists().then_some(system)).unwrap_or_else(|| program.into());
    if !is_root() {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(path);
    command
}
