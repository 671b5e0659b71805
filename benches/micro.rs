//! Times of the core paths, without Kafka and without a disk: `cargo bench -p topologies --no-default-features`.

#[path = "paths.rs"]
mod paths;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Rounds of one measurement: enough that the start of a worker does not count.
const ROUNDS: u64 = 20_000;

fn core_paths(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("paths");
    group.throughput(Throughput::Elements(ROUNDS)).sample_size(20);
    for path in paths::PATHS {
        group.bench_function(BenchmarkId::from_parameter(path.name), |bencher| bencher.iter(|| (path.run)(ROUNDS)));
    }
    group.finish();
}

criterion_group!(benches, core_paths);
criterion_main!(benches);
