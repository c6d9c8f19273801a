//! Ten steps, the million-deep loop and a task that is joined, beside what others make of them; and
//! what each feature adds to a step.
//!
//! ```text
//! cargo run --release -p steps                  both tables
//! cargo run --release -p steps -- features      what each feature adds
//! cargo run --release -p steps -- hot NAME      where the instructions of one row go
//! cargo run --release -p steps -- once NAME N   one row's work, N times: for a profiler
//! ```

mod counts;
mod deferreds;
mod extras;
mod features;
mod figures;
mod peers;
mod work;
mod worker;

use std::io;
use std::process::ExitCode;

use measure::allocations::Counting;

use crate::work::{By, Work};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// As many as a row needs for its spread.
const ROUNDS: usize = 11;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        [] => both(ROUNDS),
        ["--rounds", rounds] => match rounds.parse() {
            Ok(rounds) if rounds > 0 => both(rounds),
            _ => return usage(),
        },
        ["features"] => features::table(ROUNDS),
        ["hot", name] => match find(name) {
            Some(work) => counts::hot(&work),
            None => return usage(),
        },
        ["once", name, times] => match (find(name).map(|work| work.by), times.parse()) {
            (Some(By::Here(run)), Ok(times)) => {
                run(times);
                Ok(())
            }
            _ => return usage(),
        },
        ["serve"] => worker::serve(|name| find(name).map(|work| work.by)),
        _ => return usage(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("steps: {error}");
            ExitCode::FAILURE
        }
    }
}

fn both(rounds: usize) -> io::Result<()> {
    figures::table(&works(), rounds)?;
    features::table(rounds)
}

fn works() -> Vec<Work> {
    [&peers::works()[..], &deferreds::WORKS, &extras::WORKS].concat()
}

fn find(name: &str) -> Option<Work> {
    works().into_iter().find(|work| work.name == name)
}

fn usage() -> ExitCode {
    eprintln!(
        "usage: steps [--rounds N] | steps features | steps hot NAME | steps once NAME N, NAME being one of"
    );
    for work in works() {
        eprintln!("  {:24}{}", work.name, work.what);
    }
    ExitCode::from(2)
}
