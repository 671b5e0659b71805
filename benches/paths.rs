//! The paths that most records take, each as a loop of so many rounds: what `micro` times and `instructions` counts.

use bytes::Bytes;
use millstream::{
    cli::Params,
    codec::serdes,
    record::{Headers, RawRecord, Windowed},
    state::{ChangelogSink, MemoryBackend, Store, StoreKind, StoreSpec, window_row},
    testing::{DriverOptions, TestDriver},
    worker::Settings,
};
use serde::{Deserialize, Serialize};
use std::{hint::black_box, sync::Arc};

/// Different keys.
const KEYS: u64 = 1_000;
/// Rounds between two commits of a store.
const COMMIT_EVERY: u64 = 1_000;
const MINUTE_MS: i64 = 60_000;

/// One path.
pub struct Path {
    pub name: &'static str,
    /// Does so many rounds.
    pub run: fn(u64),
}

/// All of them. One round of the topologies is one record, from the model log through a whole worker and back.
pub const PATHS: &[Path] = &[
    Path { name: "windowed key: encode, decode", run: windowed_key },
    Path { name: "JSON value: decode, encode", run: json },
    Path { name: "window store: get, put, commit", run: |rounds| store(rounds, false) },
    Path { name: "window store: get, put through the record cache, commit", run: |rounds| store(rounds, true) },
    Path { name: "worker: passthrough", run: |records| topology("bench-passthrough", records) },
    Path { name: "worker: window-count", run: |records| topology("bench-window-count", records) },
    Path { name: "worker: window-sum", run: |records| topology("bench-window-sum", records) },
];

#[derive(Serialize, Deserialize)]
struct Payment {
    user: String,
    amount: f64,
    currency: String,
}

fn key(n: u64) -> String {
    format!("user-{:06}", n.wrapping_mul(7_919) % KEYS)
}

fn windowed_key(rounds: u64) {
    let serde = serdes::windowed(serdes::string(), MINUTE_MS);
    let keys: Vec<String> = (0..KEYS).map(key).collect();
    for n in 0..rounds {
        let start = (n as i64 / 100) * MINUTE_MS;
        let windowed = Windowed::new(keys[(n % KEYS) as usize].clone(), start, start + MINUTE_MS);
        let bytes = serde.to_bytes(&windowed).expect("it is encoded");
        black_box(serde.decode(&bytes).expect("it is decoded"));
    }
}

fn value(n: u64) -> String {
    format!("{{\"user\":\"{}\",\"amount\":{}.5,\"currency\":\"EUR\",\"note\":\"{:040}\"}}", key(n), n % 97, n)
}

fn json(rounds: u64) {
    let serde = serdes::json::<Payment>();
    let values: Vec<Bytes> = (0..KEYS).map(|n| value(n).into()).collect();
    for n in 0..rounds {
        let payment = serde.decode(&values[(n % KEYS) as usize]).expect("it is decoded");
        black_box(serde.to_bytes(&payment).expect("it is encoded"));
    }
}

/// Takes changelog records as a producer would, and forgets them.
struct Sink;

impl ChangelogSink for Sink {
    fn log(&mut self, key: Bytes, value: Option<Bytes>, timestamp: i64, headers: Headers) {
        black_box((key, value, timestamp, headers));
    }
}

fn store(rounds: u64, cached: bool) {
    let spec = StoreSpec {
        name: "store".into(),
        kind: StoreKind::Window { size_ms: MINUTE_MS, retention_ms: 60 * MINUTE_MS },
        timestamped: true,
        logged: true,
        changelog_config: Default::default(),
        cached,
        persistent: false,
    };
    let mut store = Store::new(spec, Arc::new(MemoryBackend::new()), None, true);
    let keys: Vec<String> = (0..KEYS).map(key).collect();
    for n in 0..rounds {
        let time = (n as i64 / 10_000) * MINUTE_MS;
        let row = window_row(time, keys[(n % KEYS) as usize].as_bytes());
        let before = store
            .get(&row)
            .expect("it is read")
            .map_or(0, |row| u64::from_be_bytes(row.value[..].try_into().expect("eight bytes")));
        let value = Some(Bytes::copy_from_slice(&(before + 1).to_be_bytes()));
        if cached {
            store.put_cached(row, value, time, Headers::none(), None).expect("it is written");
        } else {
            store.put(row, value, time).expect("it is written");
        }
        if n % COMMIT_EVERY == COMMIT_EVERY - 1 {
            black_box(store.take_pending());
            store.drain(&mut Sink);
            store.committed(time);
        }
    }
}

fn topology(name: &str, records: u64) {
    let catalogue = topologies::catalogue();
    let entry = catalogue.entries().iter().find(|e| e.name == name).expect("a topology of the catalogue");
    let topology = (entry.build)(&Params::defaults(entry)).expect("it builds");
    let settings = Settings::default();
    let options = DriverOptions { partitions: 4, settings, ..DriverOptions::default() };
    let mut driver = TestDriver::with(topology, options).expect("it starts");
    let input = (0..records).map(|n| RawRecord {
        offset: 0,
        timestamp: 1_760_000_000_000 + n as i64,
        key: Some(key(n).into()),
        value: Some(value(n).into()),
        headers: Headers::new(),
    });
    driver.pipe_all_raw(entry.inputs[0].name, input).expect("they are processed");
    black_box(driver.topics());
}
