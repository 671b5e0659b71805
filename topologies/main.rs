//! The worker.
#![cfg_attr(feature = "kafka", expect(unsafe_code, reason = "the allocator reads its settings from a symbol"))]

/// Records are allocated by one thread of a Kafka client and freed by another, all the time.
#[cfg(feature = "kafka")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Few arenas for few busy threads; memory that has been free for a second goes back to the system.
// SAFETY: jemalloc reads a pointer to a C string from this symbol, and the first word of the slice is one.
#[cfg(feature = "kafka")]
#[unsafe(export_name = "malloc_conf")]
pub static MALLOC_CONF: &[u8] = b"narenas:4,dirty_decay_ms:1000,muzzy_decay_ms:0\0";

fn main() -> std::process::ExitCode {
    millstream::cli::main(topologies::catalogue())
}
