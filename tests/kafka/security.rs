//! TLS, log-in with SCRAM, and rights.

use crate::{
    counting::{Job, PARTITIONS, assert_same, counted, feed, recount},
    rights::grant,
    support::{Broker, Worker},
};
use std::{path::Path, process::Command, time::Duration};

/// Makes a certificate authority, and a key with a certificate for 127.0.0.1 that it has signed.
fn certificates(dir: &Path) {
    let openssl = |arguments: &str| {
        let output =
            Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output().expect("openssl runs");
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    };
    openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=test-ca");
    openssl("req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=broker");
    std::fs::write(dir.join("san"), "subjectAltName=IP:127.0.0.1\n").expect("written");
    openssl("x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.crt -days 2 -extfile san");
    let part = |name: &str| std::fs::read_to_string(dir.join(name)).expect("just made");
    std::fs::write(dir.join("server.pem"), part("server.key") + &part("server.crt")).expect("written");
}

/// Log-ins of `app`, who gets rights, and `poor`, who has none. Without TLS everyone may do everything.
fn secured() -> Broker {
    const SETTINGS: &str = "\
listeners=PLAINTEXT://127.0.0.1:@PORT@,TLS://127.0.0.1:@TLS_PORT@,CONTROLLER://127.0.0.1:@CONTROLLER_PORT@
advertised.listeners=PLAINTEXT://127.0.0.1:@PORT@,TLS://127.0.0.1:@TLS_PORT@
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,TLS:SASL_SSL
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.tls.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location=@DIR@/server.pem
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
";
    let login = |name: &str| format!("--add-scram\nSCRAM-SHA-512=[name={name},password={name}-secret]\n");
    Broker::prepared(SETTINGS, |dir| {
        certificates(dir);
        std::fs::write(dir.join("format.args"), login("app") + &login("poor")).expect("written");
    })
}

struct Guest<'a> {
    broker: &'a Broker,
    job: &'a Job<'a>,
    dir: &'a Path,
}

impl Guest<'_> {
    fn start(&self, name: &str, user: &str, password: &str, authority: &Path) -> Worker {
        let settings = [
            format!("bootstrap.servers={}", self.broker.tls_address()),
            "security.protocol=SASL_SSL".into(),
            format!("ssl.ca.location={}", authority.display()),
            "sasl.mechanism=SCRAM-SHA-512".into(),
            format!("sasl.username={user}"),
            format!("sasl.password={password}"),
            "windowstore.changelog.additional.retention.ms=864000000000".into(),
        ];
        let mut args = vec!["--until-end"];
        args.extend(settings.iter().flat_map(|s| ["--set", s.as_str()]));
        self.job.start(self.dir, name, &args)
    }

    /// What is said to `user`.
    fn refused(&self, name: &str, user: &str, password: &str, authority: &Path) -> String {
        let mut worker = self.start(name, user, password, authority);
        let status = worker.wait(Duration::from_secs(60));
        let log = worker.log();
        assert_eq!(status.code(), Some(1), "{log}");
        let errors: Vec<&str> = log.lines().filter(|l| l.starts_with("millstream: ")).collect();
        assert_eq!(errors.len(), 1, "{log}");
        assert!(!log.contains("-secret"), "{log}");
        errors[0].to_owned()
    }
}

#[test]
fn tls_with_scram_and_what_is_refused() {
    const EVENTS: i64 = 20_000;
    let broker = secured();
    let dir = tempfile::tempdir().expect("a directory");
    let job = Job::new(&broker, "safe");
    feed(&broker.producer(), &job.input, 0..EVENTS, None);
    let authority = broker.directory().join("ca.pem");
    let guest = Guest { broker: &broker, job: &job, dir: dir.path() };

    let told = guest.refused("wrong", "app", "wrong", &authority);
    assert!(told.contains("the broker refuses the log-in: ") && told.contains("sasl.password"), "{told}");
    std::fs::write(dir.path().join("other.pem"), std::fs::read(broker.directory().join("server.crt")).expect("made"))
        .expect("written");
    let told = guest.refused("untrusted", "app", "app-secret", &dir.path().join("other.pem"));
    assert!(told.contains("TLS with the broker fails: ") && told.contains("ssl.ca.location"), "{told}");

    // Right by right, each missing one has its name.
    let told = guest.refused("poor", "poor", "poor-secret", &authority);
    assert!(told.contains("this application may not see topics: safe-in, safe-out"), "{told}");
    grant(&broker, "app", "topic", "safe-in", &["READ"]);
    grant(&broker, "app", "topic", "safe-out", &["DESCRIBE"]);
    let told = guest.refused("create", "app", "app-secret", &authority);
    assert!(told.contains("topic `safe-counts-changelog` can't be created") && told.contains("grant CREATE"), "{told}");
    grant(&broker, "app", "topic", "safe-counts-changelog", &["CREATE", "READ", "WRITE", "DESCRIBE_CONFIGS"]);
    let told = guest.refused("group", "app", "app-secret", &authority);
    assert!(told.contains("grant READ on the group") || told.contains("on transactional ids"), "{told}");
    grant(&broker, "app", "group", "safe", &["READ"]);
    let told = guest.refused("transaction", "app", "app-secret", &authority);
    assert!(told.contains("grant WRITE and DESCRIBE on transactional ids"), "{told}");
    grant(&broker, "app", "transactional id", "safe-", &["WRITE", "DESCRIBE"]);
    let told = guest.refused("output", "app", "app-secret", &authority);
    assert!(told.contains("does not let this application write") && told.contains("grant WRITE"), "{told}");
    grant(&broker, "app", "topic", "safe-out", &["WRITE"]);

    guest.start("app", "app", "app-secret", &authority).finish();
    assert_same(&recount(0..EVENTS), &counted(&broker, &job.output, PARTITIONS));
}
