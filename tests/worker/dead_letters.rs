//! Dead letters on a real broker: made once by workers that are killed, and put back once by a command that is killed.

use super::{
    BASE_MS, LIMIT,
    broker::Broker,
    replica::{Launch, Replica},
};
use std::{
    collections::BTreeMap,
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

const PARTITIONS: i32 = 4;
const ORDERS: i64 = 3_000;
/// Replays that are killed.
const KILLS: usize = 4;

fn bad(order: i64) -> bool {
    order % 3 == 0
}

fn written(broker: &Broker, topic: &str) -> i64 {
    broker.ranges(topic).iter().map(|(_, end)| end).sum()
}

fn wait_until(what: &str, replicas: &mut [&mut Replica], mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !done() {
        assert!(
            Instant::now() < deadline,
            "{what} does not come:\n{}",
            replicas.iter().map(|r| r.log()).collect::<String>()
        );
        thread::park_timeout(Duration::from_millis(5));
    }
}

fn dlq(broker: &Broker, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    command.arg("dlq").args(arguments).args(["--set", &format!("bootstrap.servers={}", broker.address)]);
    command.args(["--set", "errors.dead.letter.queue.topic.name=dlq-dead"]);
    command
}

/// Standard output of a command that ends well.
fn said(mut command: Command) -> String {
    let output: Output = command.output().expect("the command starts");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{error}");
    String::from_utf8(output.stdout).expect("text")
}

/// How often each key is among the committed records.
fn keys(broker: &Broker, topic: &str) -> BTreeMap<String, usize> {
    let mut keys = BTreeMap::new();
    for (key, _) in broker.read(topic) {
        *keys.entry(String::from_utf8(key).expect("text")).or_insert(0) += 1;
    }
    keys
}

#[test]
fn dead_letters_are_put_back_once_whatever_is_killed() {
    let (broker, directory) = (Broker::shared(), tempfile::tempdir().expect("a temporary directory"));
    for topic in ["dlq-orders", "dlq-handled"] {
        broker.create_topic(topic, PARTITIONS);
    }
    broker.create_topic("dlq-dead", 2);
    let records = (0..ORDERS).map(|n| {
        let value = if bad(n) { format!("bad {n}") } else { format!("fine {n}") };
        (n as i32 % PARTITIONS, format!("order-{n}"), value, BASE_MS + n)
    });
    broker.write("dlq-orders", records, None);
    let launch = |topology: &'static str| {
        Launch::new(topology, "dlq-application", &broker.address, directory.path())
            .of_tests()
            .set("input.topic", "dlq-orders")
            .set("output.topic", "dlq-handled,dlq-dead")
            .set("commit.interval.ms", "20")
    };

    // Bad orders are dead after two attempts, once, although the worker is killed on the way.
    let mut worker = launch("brittle").start(0);
    wait_until("the first order", &mut [&mut worker], || written(&broker, "dlq-handled") > 0);
    worker.kill();
    let mut worker = launch("brittle").start(0);
    let all_bad: BTreeMap<String, usize> = (0..ORDERS).filter(|n| bad(*n)).map(|n| (format!("order-{n}"), 1)).collect();
    wait_until("the last dead letter", &mut [&mut worker], || written(&broker, "dlq-dead") >= all_bad.len() as i64);
    wait_until("the last commit", &mut [&mut worker], || keys(&broker, "dlq-dead").len() == all_bad.len());
    worker.kill();
    assert_eq!(keys(&broker, "dlq-dead"), all_bad);

    // Some of them go back, and only them.
    let some = all_bad.keys().filter(|key| key.contains("order-2")).count();
    let filtered = ["replay", "--filter", "key=order-2", "--filter", "this order"];
    let dry = said(dlq(&broker, &[&filtered[..], &["--dry-run"]].concat()));
    assert!(dry.ends_with(&format!("{some} would be put back\n")), "{dry}");
    assert_eq!(keys(&broker, "dlq-orders").values().sum::<usize>(), ORDERS as usize);
    assert_eq!(said(dlq(&broker, &filtered)), format!("{some} put back\n"));
    let expected = |back: &dyn Fn(&str) -> bool| -> BTreeMap<String, usize> {
        let twice = |n: i64, key: &str| bad(n) && back(key);
        (0..ORDERS)
            .map(|n| (format!("order-{n}"), n))
            .map(|(key, n)| {
                let count = 1 + usize::from(twice(n, &key));
                (key, count)
            })
            .collect()
    };
    assert_eq!(keys(&broker, "dlq-orders"), expected(&|key| key.contains("order-2")));

    // The others go back while the command is killed again and again.
    let mut amid_work = 0;
    for _ in 0..KILLS {
        let before = written(&broker, "dlq-orders");
        let command = dlq(&broker, &["replay", "--transaction-records", "10"]);
        let mut replay = Replica::spawn(command, directory.path().join("replay.log"));
        wait_until("the first record that is put back", &mut [], || {
            written(&broker, "dlq-orders") > before || !replay.alive()
        });
        amid_work += usize::from(replay.alive());
        replay.kill();
    }
    let rest = said(dlq(&broker, &["replay", "--transaction-records", "10"]));
    assert!(rest.ends_with(" put back\n"), "{rest}");
    assert!(amid_work > 0, "no kill came while there was work");
    assert_eq!(keys(&broker, "dlq-orders"), expected(&|_| true), "nothing lost, nothing twice");
    assert_eq!(said(dlq(&broker, &["replay"])), "0 put back\n");
    let list = said(dlq(&broker, &["list"]));
    assert!(list.ends_with(&format!("\n{0} dead letters, {0} of them put back\n", all_bad.len())), "{list}");
    let place = list.split_whitespace().next().expect("a line");
    let shown = said(dlq(&broker, &["show", place]));
    assert!(shown.contains("header    __streams.errors.topic: dlq-orders\n"), "{shown}");
    assert!(shown.contains("header    millstream.retry.attempts: 2\n"), "{shown}");

    // The mended application handles what was put back: every order once.
    launch("mended").flag("--until-end").run(0, LIMIT);
    let handled = keys(&broker, "dlq-handled");
    assert_eq!(handled, (0..ORDERS).map(|n| (format!("order-{n}"), 1)).collect());
}

#[test]
fn mistakes_of_dead_letter_commands_are_named() {
    let broker = Broker::shared();
    for (arguments, code, text) in [
        (&["list", "--topic", "dlq-nowhere"][..], 1, "topics do not exist: dlq-nowhere"),
        (&["list", "--since", "soon"], 2, "`soon` is no time (--since)"),
        (&["list", "--filter", "key="], 2, "there is nothing to look for (--filter key=)"),
        (&["show", "7"], 2, "`7` is no place of a record"),
        (&["replay", "--transaction-records", "0"], 2, "a transaction of no record"),
    ] {
        let output = dlq(&broker, arguments).output().expect("the command starts");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), error.contains(text)), (Some(code), true), "{arguments:?}: {error}");
    }
    let none = Command::new(env!("CARGO_BIN_EXE_millstream")).args(["dlq", "list"]).output().expect("it starts");
    assert_eq!(none.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&none.stderr).contains("which dead-letter topic?: say --topic NAME"));
}
