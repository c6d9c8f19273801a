//! `thence-gate`: reads its command line and ends with the exit code that says how it went.

#![forbid(unsafe_code)]

use std::{io::Write as _, process::ExitCode};

use thence_gate::{args, run};

fn main() -> ExitCode {
    let cli = match args::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err((error, exit)) => {
            // Nobody is left to tell when this fails.
            let _ = error.print();
            return exit.into();
        }
    };
    match run::run(cli) {
        Ok(exit) => exit.into(),
        Err(trouble) => {
            // A closed standard error is no reason to panic.
            let _ = writeln!(std::io::stderr(), "thence-gate: {trouble}");
            trouble.exit().into()
        }
    }
}
