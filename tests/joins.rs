//! Joins against models that know nothing of stores, topics and tasks; over several partitions, and over crashes.

use millstream::{
    codec::serdes,
    operator::JoinWindows,
    testing::{DriverOptions, TestDriver},
    topology::{StreamsBuilder, Topology},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Numbers that look random and are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

fn driver(topology: Topology, partitions: i32) -> TestDriver {
    TestDriver::with(topology, DriverOptions { partitions, ..DriverOptions::default() }).expect("a driver")
}

fn pipe(driver: &mut TestDriver, topic: &str, key: &str, value: Option<&str>, at: i64) {
    let text = serdes::string();
    let value = value.map(str::to_owned);
    driver.pipe(topic, &text, &text, Some(&key.to_owned()), value.as_ref(), at).expect("a sound record");
}

/// The newest value of each key of a topic.
fn newest(driver: &mut TestDriver, topic: &str, rows: &mut BTreeMap<String, String>) {
    for record in driver.read(topic, &serdes::string(), &serdes::string()).expect("texts") {
        set(rows, record.key.expect("a key"), record.value);
    }
}

fn set(rows: &mut BTreeMap<String, String>, key: String, value: Option<String>) {
    match value {
        Some(value) => rows.insert(key, value),
        None => rows.remove(&key),
    };
}

/// Orders name customers; a row of the result is an order with its customer.
fn orders_of_customers(left: bool) -> Topology {
    let builder = StreamsBuilder::new();
    let (orders, customers) = (builder.table::<String, String>("orders"), builder.table("customers"));
    let customer = |order: &String| order.split(' ').next().filter(|name| *name != "-").map(str::to_owned);
    let joined = if left {
        let join = |order: &String, name: Option<&String>| Some(format!("{order} {}", name.map_or("?", |n| n)));
        orders.foreign_key_left_join(&customers, customer, join)
    } else {
        orders.foreign_key_join(&customers, customer, |order, name: &String| Some(format!("{order} {name}")))
    };
    joined.to_stream().to("out");
    builder.build().expect("a sound topology")
}

#[test]
fn d104_foreign_keys_find_their_rows_over_partitions_and_crashes() {
    for left in [false, true] {
        let mut driver = driver(orders_of_customers(left), 3);
        let (mut orders, mut customers, mut rows) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut numbers = Numbers(7);
        for at in 0..300 {
            let (order, customer) = (format!("o{}", numbers.below(12)), format!("c{}", numbers.below(6)));
            let row = match numbers.below(8) {
                0 => None,
                1 => Some(format!("- {at}")),
                _ => Some(format!("{customer} {at}")),
            };
            if numbers.below(3) == 0 {
                let name = (numbers.below(4) > 0).then(|| format!("name{at}"));
                pipe(&mut driver, "customers", &customer, name.as_deref(), at);
                set(&mut customers, customer, name);
            } else {
                pipe(&mut driver, "orders", &order, row.as_deref(), at);
                set(&mut orders, order, row);
            }
            if numbers.below(25) == 0 {
                driver.crash().expect("the worker comes up again");
            }
            newest(&mut driver, "out", &mut rows);
            let joined = |(key, order): (&String, &String)| {
                let name = customers.get(order.split(' ').next()?).map(String::as_str);
                Some((key.clone(), format!("{order} {}", name.or(left.then_some("?"))?)))
            };
            assert_eq!(rows, orders.iter().filter_map(joined).collect(), "after record {at}");
        }
        assert!(!rows.is_empty());
    }
}

#[test]
fn d111_a_foreign_key_joins_topics_follow_each_its_own_side() {
    let topology = orders_of_customers(false);
    let counts = BTreeMap::from([(Arc::from("orders"), 4), (Arc::from("customers"), 3), (Arc::from("out"), 1)]);
    let resolved = topology.resolve("app", &counts).expect("unequal counts are fine");
    let count = |part: &str| resolved.internal.iter().find(|t| t.name.contains(part)).map(|t| t.partitions);
    assert_eq!(count("SUBSCRIPTION-REGISTRATION"), Some(3));
    assert_eq!(count("SUBSCRIPTION-RESPONSE"), Some(4));
    assert_eq!(resolved.sub_topologies.iter().map(|sub| sub.partitions).collect::<Vec<_>>(), [4, 3]);
}

#[test]
fn d81_to_d84_records_pair_with_every_record_of_their_key_in_the_window() {
    let (before, after) = (7, 3);
    let builder = StreamsBuilder::new();
    let (left, right) = (builder.stream::<String, String>("left"), builder.stream::<String, String>("right"));
    let windows = JoinWindows::of_time_difference_and_grace(Duration::ZERO, Duration::from_secs(3600));
    let pair = |l: &String, r: &String| Some(format!("{l}{r}"));
    left.join_stream(&right, pair, windows.between_ms(before, after)).to("out");
    let mut driver = driver(builder.build().expect("a sound topology"), 2);
    let mut numbers = Numbers(11);
    let mut sides: [Vec<(String, String, i64)>; 2] = Default::default();
    let mut wanted = Vec::new();
    for n in 0..300 {
        let side = numbers.below(2) as usize;
        let (key, at) = (format!("k{}", numbers.below(4)), n / 3 + numbers.below(12) as i64);
        let value = format!("{}{n}", ["l", "r"][side]);
        pipe(&mut driver, ["left", "right"][side], &key, Some(&value), at);
        for (_, other, time) in sides[1 - side].iter().filter(|(other, ..)| *other == key) {
            let (l, r) = if side == 0 { (at, *time) } else { (*time, at) };
            if (l - before..=l + after).contains(&r) {
                let joined = if side == 0 { format!("{value}{other}") } else { format!("{other}{value}") };
                wanted.push((key.clone(), joined, at.max(*time)));
            }
        }
        sides[side].push((key, value, at));
        if numbers.below(40) == 0 {
            driver.crash().expect("the worker comes up again");
        }
    }
    let text = serdes::string();
    let records = driver.read("out", &text, &text).expect("texts");
    let mut got: Vec<_> = records.into_iter().map(|r| (r.key.unwrap(), r.value.unwrap(), r.timestamp)).collect();
    got.sort();
    wanted.sort();
    assert!(wanted.len() > 300);
    assert_eq!(got, wanted);
}

/// D-3.
#[test]
fn r75_a_global_table_is_whole_in_each_process_and_restored_before_it_works() {
    let builder = StreamsBuilder::new();
    let names = builder.global_table::<String, String>("names");
    let calls = builder.stream::<String, String>("calls");
    calls.join_global(&names, |_, code| Some(code.clone()), |_, _, name| Some(name.clone())).to("out");
    let mut driver = driver(builder.build().expect("a sound topology"), 3);
    for code in 0..9 {
        pipe(&mut driver, "names", &format!("c{code}"), Some(&format!("name{code}")), 1);
    }
    pipe(&mut driver, "names", "c3", None, 2);
    let text = serdes::string();
    for round in 0..2 {
        for code in 0..9 {
            pipe(&mut driver, "calls", &format!("k{code}"), Some(&format!("c{code}")), 3);
        }
        let mut seen: Vec<_> =
            driver.read("out", &text, &text).expect("texts").into_iter().filter_map(|r| r.value).collect();
        seen.sort();
        let wanted: Vec<_> = (0..9).filter(|code| *code != 3).map(|code| format!("name{code}")).collect();
        assert_eq!(seen, wanted, "round {round}");
        driver.crash().expect("the worker comes up again");
    }
}
