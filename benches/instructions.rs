//! Instructions that the core paths take per round, counted by valgrind and held to a bound: a count does not depend on
//! what else the machine does, so that the bound can be close.
//!
//! - `instructions`: counts all paths; ends with 1 when one of them takes more, or so much less that its bound is stale.
//! - `instructions --planted`: the same with a burden of 1,000 additions in each round, which the bounds must notice.
//! - `instructions PATH ROUNDS [--planted]`: does the rounds; this is what runs under valgrind.

#[path = "paths.rs"]
mod paths;

use paths::{PATHS, Path};
use std::{
    hint::black_box,
    process::{Command, ExitCode},
};

/// Instructions per round, by the order of [`PATHS`], as measured with Rust 1.95 on x86-64.
const EXPECTED: [u64; PATHS.len()] = [1_383, 5_215, 2_808, 3_256, 24_937, 25_513, 27_314];
/// A count may lie so far above or below, in percent: another compiler moves it by a few.
const TOLERANCE: u64 = 12;

/// The difference of these two runs is free of what a start costs.
const ROUNDS: [u64; 2] = [10_000, 30_000];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let planted = args.iter().any(|a| a == "--planted");
    match (args.first().and_then(|a| a.parse::<usize>().ok()), args.get(1).and_then(|a| a.parse().ok())) {
        (Some(path), Some(rounds)) => {
            (PATHS[path].run)(rounds);
            if planted {
                (0..1_000 * rounds).for_each(|n| {
                    black_box(n);
                });
            }
            ExitCode::SUCCESS
        }
        _ => check(planted),
    }
}

fn check(planted: bool) -> ExitCode {
    let mut wrong = 0;
    println!("{:<58} {:>9} {:>9}", "instructions per round", "counted", "expected");
    for (at, (Path { name, .. }, expected)) in PATHS.iter().zip(EXPECTED).enumerate() {
        let [few, many] = ROUNDS.map(|rounds| count(at, rounds, planted));
        let counted = (many - few) / (ROUNDS[1] - ROUNDS[0]);
        let verdict = if 100 * counted.abs_diff(expected) <= TOLERANCE * expected {
            ""
        } else if counted < expected {
            "  less: lower what benches/instructions.rs expects"
        } else {
            "  MORE"
        };
        wrong += usize::from(!verdict.is_empty());
        println!("{name:<58} {counted:>9} {expected:>9}{verdict}");
    }
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Instructions of a whole run.
fn count(path: usize, rounds: u64, planted: bool) -> u64 {
    let me = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(me);
    command.args([path.to_string(), rounds.to_string()]).args(planted.then_some("--planted"));
    let run = command.output().expect("valgrind is installed: tests/tools.sh does it");
    let text = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "valgrind failed:\n{text}");
    let collected = text.lines().find_map(|line| line.split_once("Collected :")).expect("a count");
    collected.1.trim().parse().expect("a number")
}
