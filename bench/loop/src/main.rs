//! What a loop does beside input and output: a million timers, jobs for other threads, and being
//! woken by one. Beside tokio, async-io, `blocking`, libuv and what the kernel alone costs.
//!
//! ```text
//! cargo run --release -p loop-bench                   all tables
//! cargo run --release -p loop-bench -- timers         one of them: timers, offload or wake
//! cargo run --release -p loop-bench -- once NAME      one subject, once: for a profiler
//! ```
//!
//! Each measurement is a process of its own: no subject finds the heap or the threads of another.

mod figures;
mod offload;
mod subject;
mod timers;
mod wake;

use std::process::ExitCode;

use crate::subject::Subject;

/// As many as a spread needs.
const ROUNDS: usize = 7;

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut rounds = ROUNDS;
    if let Some(place) = arguments.iter().position(|word| word == "--rounds") {
        match arguments.get(place + 1).and_then(|rounds| rounds.parse().ok()) {
            Some(given) if given > 0 => rounds = given,
            _ => return usage(),
        }
        arguments.drain(place..place + 2);
    }
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        [] => figures::all(rounds),
        ["timers"] => figures::timers(rounds),
        ["offload"] => figures::offload(rounds),
        ["wake"] => figures::wake(rounds),
        ["once", name] => match subjects().find(|subject| subject.name == name) {
            Some(subject) => subject.run_here(),
            None => return usage(),
        },
        _ => return usage(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("loop-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn subjects() -> impl Iterator<Item = &'static Subject> {
    timers::SUBJECTS.iter().chain(&offload::SUBJECTS).chain(&wake::SUBJECTS)
}

fn usage() -> ExitCode {
    eprintln!(
        "usage: loop-bench [timers|offload|wake] [--rounds N] | loop-bench once NAME, NAME being one of"
    );
    for subject in subjects() {
        eprintln!("  {:20}{}", subject.name, subject.what);
    }
    ExitCode::from(2)
}
