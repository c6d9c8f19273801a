//! Ten steps and the million-deep loop, beside `futures`.
//!
//! ```text
//! cargo run --release -p steps                  the table
//! cargo run --release -p steps -- hot NAME      where the instructions of one row go
//! cargo run --release -p steps -- once NAME N   one row's work, N times: for a profiler
//! ```

mod deferreds;
mod figures;
mod peers;
mod work;

use std::process::ExitCode;

use measure::allocations::Counting;

use crate::work::Work;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        [] => figures::table(&works(), 11),
        ["--rounds", rounds] => match rounds.parse() {
            Ok(rounds) if rounds > 0 => figures::table(&works(), rounds),
            _ => return usage(),
        },
        ["hot", name] => match find(name) {
            Some(work) => figures::hot(&work),
            None => return usage(),
        },
        ["once", name, times] => match (find(name), times.parse()) {
            (Some(work), Ok(times)) => {
                (work.run)(times);
                Ok(())
            }
            _ => return usage(),
        },
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

fn works() -> Vec<Work> {
    [&peers::PEERS[..], &deferreds::OURS[..]].concat()
}

fn find(name: &str) -> Option<Work> {
    works().into_iter().find(|work| work.name == name)
}

fn usage() -> ExitCode {
    eprintln!("usage: steps [--rounds N] | steps hot NAME | steps once NAME N, NAME being one of");
    for work in works() {
        eprintln!("  {:24}{}", work.name, work.what);
    }
    ExitCode::from(2)
}
