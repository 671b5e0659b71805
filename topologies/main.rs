//! The worker.

fn main() -> std::process::ExitCode {
    millstream::cli::main(topologies::catalogue())
}
