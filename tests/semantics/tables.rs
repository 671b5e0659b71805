//! Tables: the examples of Kafka Streams' documentation.

use crate::{driver, numbers, pipe, texts};
use millstream::topology::StreamsBuilder;

/// D-127: regions of users, summed up.
#[test]
fn d127_the_sums_of_the_regions_are_those_of_the_documentation() {
    let builder = StreamsBuilder::new();
    let users = builder.table::<String, String>("users");
    let region = |_: &String, user: &String| {
        let (region, size) = user.split_once(' ')?;
        Some(((region != "null").then(|| region.to_owned()), size.parse::<i64>().ok()))
    };
    let sums = users.group_by(move |k, v| region(k, v).unwrap_or((None, None)));
    sums.aggregate(|| 0, |_, n, sum| Some(sum + n), |_, n, sum| Some(sum - n)).to_stream().to("out");
    let mut driver = driver(&builder);
    let mut step = |user: &str, value: &str| {
        pipe(&mut driver, "users", user, value, 0);
        numbers(&mut driver, "out")
    };
    assert_eq!(step("alice", "E 5"), ["E=5@0"]);
    assert_eq!(step("bob", "A 3"), ["A=3@0"]);
    assert_eq!(step("charlie", "A 7"), ["A=10@0"]);
    let moved = step("alice", "A 5");
    assert!(moved.contains(&"E=0@0".into()) && moved.contains(&"A=15@0".into()), "{moved:?}");
    assert_eq!(step("charlie", "-"), ["A=8@0"]);
    let moved = step("bob", "E 3");
    assert!(moved.contains(&"A=5@0".into()) && moved.contains(&"E=3@0".into()), "{moved:?}");
    // A null key is no row of the table.
    assert_eq!(step("-", "E 9"), [""; 0]);
}

/// D-129: an update that changes nothing is an update all the same.
#[test]
fn d129_an_equal_row_is_told_again() {
    let builder = StreamsBuilder::new();
    builder.table::<String, String>("in").map_values(|v| Some(v.len() as i64)).to_stream().to("out");
    let mut driver = driver(&builder);
    for at in [1, 2] {
        pipe(&mut driver, "in", "k", "v", at);
    }
    assert_eq!(numbers(&mut driver, "out"), ["k=1@1", "k=1@2"]);
}

/// D-14: `peek` and `for_each` see each record, and the first passes it on.
#[test]
fn d14_peek_passes_on_and_for_each_ends() {
    use std::sync::{Arc, Mutex};
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = |seen: &Arc<Mutex<Vec<String>>>, who: &'static str| {
        let seen = Arc::clone(seen);
        move |_: Option<&String>, value: Option<&String>| {
            let text = value.map_or("-", |v| v.as_str());
            seen.lock().expect("no test panics while it writes").push(format!("{who} {text}"));
        }
    };
    let builder = StreamsBuilder::new();
    let peeked = builder.stream::<String, String>("in").peek(note(&seen, "peek"));
    peeked.for_each(note(&seen, "each"));
    peeked.to("out");
    let mut driver = driver(&builder);
    pipe(&mut driver, "in", "k", "v", 1);
    pipe(&mut driver, "in", "-", "-", 2);
    assert_eq!(*seen.lock().unwrap(), ["peek v", "each v", "peek -", "each -"]);
    assert_eq!(texts(&mut driver, "out"), ["k=v@1", "-=-@2"]);
}
