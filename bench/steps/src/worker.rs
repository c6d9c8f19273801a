//! Processes that do works on request and measure themselves.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use measure::cpu;

use crate::work::{By, Work};

/// A program in another language.
#[derive(Debug)]
pub struct Program {
    pub what: &'static str,
    /// What may run it; the first that can is taken.
    pub interpreters: &'static [&'static str],
    /// Its file. With `once NAME TIMES` it does a work, with `serve` it is a worker.
    pub script: &'static str,
}

impl Program {
    /// Starts it as a worker. `None` if nothing on this machine can run it.
    pub fn start(&self) -> Option<Worker> {
        self.interpreters.iter().find_map(|interpreter| {
            let mut command = Command::new(interpreter);
            command.args([self.script, "serve"]);
            // An interpreter without the library says so at length.
            command.stderr(Stdio::null());
            Worker::start(command).ok()
        })
    }
}

/// The peers' programs that run here, and those that do not.
#[derive(Debug)]
pub struct Programs(Vec<(&'static Program, Option<Worker>)>);

impl Programs {
    /// Starts each that the works need.
    pub fn start(works: &[Work]) -> Self {
        let mut programs: Vec<(&'static Program, Option<Worker>)> = Vec::new();
        for work in works {
            if let By::There(program, _) = work.by
                && programs.iter().all(|(started, _)| started.what != program.what)
            {
                programs.push((program, program.start()));
            }
        }
        Self(programs)
    }

    /// The one that runs `program`, if it can run here.
    pub fn worker(&mut self, program: &Program) -> Option<&mut Worker> {
        let mut found = self.0.iter_mut().filter(|(started, _)| started.what == program.what);
        found.next()?.1.as_mut()
    }

    /// Nanoseconds of processor time for one time of the work, of a slice. `None` if what does it is
    /// not there.
    ///
    /// # Errors
    ///
    /// A program ended in the midst of it.
    pub fn nanos(&mut self, work: &Work) -> io::Result<Option<f64>> {
        let nanos = match work.by {
            By::Here(run) => here(run, work.slice),
            By::There(program, theirs) => match self.worker(program) {
                Some(worker) => worker.nanos(theirs, work.slice)?,
                None => return Ok(None),
            },
        };
        Ok(Some(nanos / work.slice as f64))
    }

    /// As the line above the table goes on.
    pub fn versions(&self) -> String {
        let running = self.0.iter().filter_map(|(program, worker)| {
            Some(format!(", {} {}", program.what, worker.as_ref()?.version))
        });
        running.collect()
    }
}

/// A running process that does works. Dropped, it ends.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    /// `None` once it shall end.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    version: String,
    path: String,
}

impl Worker {
    /// Starts a process that says its version and its path on a line, and then answers each line
    /// `NAME TIMES` with the nanoseconds of its own processor time that it took.
    ///
    /// # Errors
    ///
    /// There is no such program, or it ended without a word.
    pub fn start(mut command: Command) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("its output is piped"));
        let (version, path) = Default::default();
        let mut worker = Self { child, orders, answers, version, path };
        let line = worker.answer()?;
        let (version, path) =
            line.split_once(' ').ok_or_else(|| io::Error::other(format!("it said '{line}'")))?;
        (worker.version, worker.path) = (version.to_owned(), path.to_owned());
        Ok(worker)
    }

    /// The program itself, or its interpreter: what callgrind has to be given.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Nanoseconds of its processor time for the work.
    ///
    /// # Errors
    ///
    /// It ended instead.
    pub fn nanos(&mut self, name: &str, times: u64) -> io::Result<f64> {
        let orders = self.orders.as_mut().expect("it ends only when it is dropped");
        writeln!(orders, "{name} {times}")?;
        let answer = self.answer().map_err(|error| {
            io::Error::new(error.kind(), format!("{} at '{name} {times}': {error}", self.path))
        })?;
        answer.parse().map_err(io::Error::other)
    }

    fn answer(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.answers.read_line(&mut line)? {
            0 => Err(io::Error::other("it has ended")),
            _ => Ok(line.trim().to_owned()),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.child.wait();
    }
}

/// This very program as a worker.
///
/// # Errors
///
/// Whoever asks is gone, or asks for what is not there.
pub fn serve(find: impl Fn(&str) -> Option<By>) -> io::Result<()> {
    println!("{} {}", env!("CARGO_PKG_VERSION"), std::env::current_exe()?.display());
    for line in io::stdin().lines() {
        let line = line?;
        let order =
            line.split_once(' ').and_then(|(name, times)| Some((find(name)?, times.parse().ok()?)));
        let Some((By::Here(run), times)) = order else {
            return Err(io::Error::other(format!("no such order: '{line}'")));
        };
        println!("{}", here(run, times));
    }
    Ok(())
}

fn here(run: fn(u64), times: u64) -> f64 {
    let start = cpu::thread_nanos();
    run(times);
    (cpu::thread_nanos() - start) as f64
}
