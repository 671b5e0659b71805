//! `--until-end` where topics of the application's own lie in a row between input and output.

use super::{BASE_MS, LIMIT, broker::Broker, check_rows, replica::Launch};
use millstream::codec::partition_for;
use std::collections::BTreeMap;

const PARTITIONS: i32 = 4;
const PRODUCTS: i64 = 40;
const ORDERS: i64 = 30_000;
const HOUR_MS: i64 = 3_600_000;
/// An hour's start.
const START_MS: i64 = BASE_MS - BASE_MS % HOUR_MS;

type Record = (i32, String, String, i64);

fn cents(product: i64) -> i64 {
    100 + product
}

fn category(product: i64) -> String {
    format!("category-{}", product % 7)
}

/// Products lie where the repartition topic has the orders of them.
fn product(n: i64) -> Record {
    let key = format!("product-{n}");
    let value = format!(r#"{{"category":"{}","price_cents":{},"since":1}}"#, category(n), cents(n));
    (partition_for(key.as_bytes(), PARTITIONS), key, value, START_MS)
}

/// Product, quantity and event time of order `n`: 25 minutes in all, so that none is late whatever the order.
fn sale(n: i64) -> (i64, i64, i64) {
    (n * 7 % PRODUCTS, n % 5 + 1, START_MS + n * 50)
}

fn order(n: i64) -> Record {
    let (product, quantity, ts) = sale(n);
    let value = format!(r#"{{"product":"product-{product}","quantity":{quantity},"ts":{ts}}}"#);
    ((n % i64::from(PARTITIONS)) as i32, n.to_string(), value, ts)
}

fn expected() -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut sums: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
    for (product, quantity, _) in (0..ORDERS).map(sale) {
        let mut row = category(product).into_bytes();
        row.extend(START_MS.to_be_bytes());
        *sums.entry(row).or_default() += quantity * cents(product);
    }
    sums.into_iter().map(|(row, sum)| (row, sum.to_be_bytes().to_vec())).collect()
}

#[test]
fn two_processes_end_when_two_repartition_topics_in_a_row_are_drained() {
    let (broker, directory) = (Broker::shared(), tempfile::tempdir().expect("a temporary directory"));
    for topic in ["shop-orders", "shop-products", "shop-revenue"] {
        broker.create_topic(topic, PARTITIONS);
    }
    broker.write("shop-products", (0..PRODUCTS).map(product), None);
    broker.write("shop-orders", (0..ORDERS).map(order), None);
    let launch = Launch::new("revenue", "shop", &broker.address, directory.path())
        .set("input.topic", "shop-orders,shop-products")
        .set("output.topic", "shop-revenue")
        .flag("--until-end");
    let mut replicas = [launch.start(0), launch.start(1)];
    for replica in &mut replicas {
        let status = replica.wait(LIMIT);
        assert!(status.success(), "{status}; its log:\n{}", replica.log());
    }
    check_rows("output", &broker.fold("shop-revenue"), &expected());
}
