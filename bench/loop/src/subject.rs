//! One thing to be measured, in a process of its own.

use std::process::{self, Command};
use std::time::Duration;
use std::{env, io, thread};

use rustix::time::{ClockId, clock_gettime};

/// A subject by its name on the command line, its name in the table, and what does it.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    pub name: &'static str,
    pub what: &'static str,
    pub by: By,
}

/// Who does it. Each gives the same figures, in nanoseconds, as the others of its table.
#[derive(Clone, Copy, Debug)]
pub enum By {
    /// This program.
    Here(fn() -> Vec<f64>),
    /// Another one, which prints its figures; `None` if it is not to be had.
    There(fn() -> Option<Command>),
}

impl Subject {
    /// Runs it once and gives its figures; `None` if it is not to be had.
    ///
    /// # Errors
    ///
    /// It failed, or took more than its lifetime.
    pub fn measure(&self) -> io::Result<Option<Vec<f64>>> {
        let command = match self.by {
            By::Here(_) => {
                let mut command = Command::new(env::current_exe()?);
                command.args(["once", self.name]);
                Some(command)
            }
            By::There(command) => command(),
        };
        let Some(mut command) = command else { return Ok(None) };
        let output = command.stderr(process::Stdio::inherit()).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let figures: Result<Vec<f64>, _> = text.split_whitespace().map(str::parse).collect();
        match figures {
            Ok(figures) if output.status.success() && !figures.is_empty() => Ok(Some(figures)),
            _ => {
                let said = text.trim();
                Err(io::Error::other(format!("{}: {}, '{said}'", self.name, output.status)))
            }
        }
    }

    /// Does it in this process and prints the figures.
    ///
    /// # Errors
    ///
    /// It is another program, which could not be run.
    pub fn run_here(&self) -> io::Result<()> {
        thread::spawn(|| {
            thread::sleep(LIFETIME);
            eprintln!("it did not end within {LIFETIME:?}");
            process::exit(3);
        });
        match self.by {
            By::Here(run) => {
                let figures: Vec<String> = run().iter().map(f64::to_string).collect();
                println!("{}", figures.join(" "));
            }
            By::There(command) => {
                let Some(mut command) = command() else {
                    return Err(io::Error::other(format!("{} is not to be had", self.what)));
                };
                command.status()?;
            }
        }
        Ok(())
    }
}

/// Nanoseconds that all threads of this process have run.
pub fn process_nanos() -> u64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// A subject that hangs ends by itself.
const LIFETIME: Duration = Duration::from_secs(60);
