//! The worker.

/// Records are allocated by one thread of a Kafka client and freed by another, all the time.
#[cfg(feature = "kafka")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    millstream::cli::main(topologies::catalogue())
}
