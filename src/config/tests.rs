use super::*;

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
}

fn load(flags: &[(&str, &str)], environment: &[(&str, &str)], file: &str) -> crate::fault::Result<Config> {
    Config::load(&pairs(flags), pairs(environment), Some(("m.toml", file)))
}

fn error(flags: &[(&str, &str)], environment: &[(&str, &str)], file: &str) -> String {
    load(flags, environment, file).unwrap_err().to_string()
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let file = "commit.interval.ms = 300\n[session.timeout]\nms = 300\n[num]\nstream.threads = 3";
    let env = [("MILLSTREAM_COMMIT_INTERVAL_MS", "200"), ("MILLSTREAM_SESSION_TIMEOUT_MS", "200"), ("HOME", "/")];
    let config = load(&[("commit.interval.ms", "100")], &env, file).unwrap();
    assert_eq!(config.int("commit.interval.ms"), 100);
    assert_eq!(config.origin("commit.interval.ms"), Some(&Origin::Flag));
    assert_eq!(config.int("session.timeout.ms"), 200);
    assert_eq!(config.int("num.stream.threads"), 3);
    assert_eq!(config.origin("num.stream.threads"), Some(&Origin::File("m.toml".into())));
    assert_eq!(config.int("max.request.size"), 1 << 20);
    assert_eq!(config.origin("max.request.size"), Some(&Origin::Default));
}

#[test]
fn an_unknown_name_gets_the_nearest_one() {
    assert_eq!(
        error(&[("commit.intervall.ms", "1")], &[], ""),
        "unknown setting `commit.intervall.ms` (--set): did you mean `commit.interval.ms`?"
    );
    assert_eq!(
        error(&[], &[("MILLSTREAM_STATE_DIRS", "x")], ""),
        "unknown setting `state.dirs` (environment MILLSTREAM_STATE_DIRS): did you mean `state.dir`?"
    );
    assert!(error(&[("zzz", "1")], &[], "").contains("`millstream config` lists all settings"));
}

#[test]
fn a_bad_value_says_what_and_where() {
    assert_eq!(
        error(&[], &[], "commit.interval.ms = \"soon\""),
        "setting `commit.interval.ms`: `soon` is not a whole number (file m.toml): its default is `100`"
    );
    assert_eq!(
        error(&[("num.stream.threads", "0")], &[], ""),
        "setting `num.stream.threads`: `0` is below the smallest value, 1 (--set): its default is `1`"
    );
    assert!(error(&[("log.format", "xml")], &[], "").contains("not one of: text, json"));
    assert!(error(&[("changelog.deduplicate", "maybe")], &[], "").contains("neither `true` nor `false`"));
    assert!(error(&[("state.memory.bytes", "4 apples")], &[], "").contains("not a number of bytes"));
    let fault = error(&[], &[], "\ncommit.interval.ms =\n");
    assert!(
        fault.starts_with("the file of settings is not TOML: ") && fault.contains(" (m.toml, line 2): "),
        "{fault}"
    );
    assert_eq!(fault.lines().count(), 1, "{fault}");
}

#[test]
fn bytes_take_units() {
    let config = load(&[("state.memory.bytes", "64MiB")], &[], "").unwrap();
    assert_eq!(config.size("state.memory.bytes"), 64 << 20);
}

#[test]
fn at_least_once_commits_every_thirty_seconds_unless_told() {
    let config = load(&[("processing.guarantee", "at_least_once")], &[], "").unwrap();
    assert_eq!(config.int("commit.interval.ms"), 30_000);
    let config = load(&[("processing.guarantee", "at_least_once"), ("commit.interval.ms", "7")], &[], "").unwrap();
    assert_eq!(config.int("commit.interval.ms"), 7);
}

#[test]
fn clients_get_security_and_their_own_keys() {
    let file = "security.protocol = \"SASL_SSL\"\nconsumer.fetch.max.bytes = 10\nmain.consumer.fetch.max.bytes = 20\nproducer.linger.ms = 5";
    let config = load(&[("sasl.password", "hush")], &[], file).unwrap();
    let consumer = config.client(Client::Consumer);
    assert_eq!(consumer["security.protocol"], "SASL_SSL");
    assert_eq!(consumer["sasl.password"], "hush");
    assert_eq!(consumer["fetch.max.bytes"], "20");
    assert_eq!(config.client(Client::Restore)["fetch.max.bytes"], "10");
    assert_eq!(config.client(Client::Producer)["linger.ms"], "5");
    assert!(!config.client(Client::Admin).contains_key("linger.ms"));
    assert!(error(&[("consumer.isolation.level", "x")], &[], "").contains("can't be changed"));
}

#[test]
fn secrets_are_masked() {
    let secrets = ["sasl.password", "sasl.pasword", "ssl.key.password", "consumer.sasl.jaas.config", "ssl.key.pem"];
    let open = ["sasl.username", "sasl.mechanism", "sasl.oauthbearer.token.endpoint.url", "ssl.ca.location"];
    let set: Vec<_> = secrets.iter().chain(&open).map(|name| (*name, "value")).collect();
    let shown = load(&set, &[], "").unwrap().effective();
    for (names, value) in [(&secrets[..], "********"), (&open[..], "value")] {
        for name in names {
            assert!(shown.iter().any(|e| e.name == *name && e.value == value), "{name}");
        }
    }
}

#[test]
fn kubernetes_service_variables_are_no_settings() {
    let env = [
        ("MILLSTREAM_SERVICE_HOST", "10.0.0.1"),
        ("MILLSTREAM_SERVICE_PORT_HTTP", "8080"),
        ("MILLSTREAM_PORT", "tcp://10.0.0.1:8080"),
        ("MILLSTREAM_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("MILLSTREAM_CONFIG", "/etc/millstream.toml"),
    ];
    load(&[], &env, "").unwrap();
}

#[test]
fn the_table_is_sorted_and_its_defaults_are_values() {
    assert!(SETTINGS.windows(2).all(|w| w[0].name < w[1].name));
    for s in SETTINGS.iter().filter(|s| !s.default.is_empty()) {
        assert_eq!(s.kind.check(s.name, s.default).unwrap(), s.default, "{}", s.name);
    }
}
