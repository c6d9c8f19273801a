//! The processes of a stack: where they run, what they cost, how they end.

use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use measure::cpu;
use rustix::process::{Pid, Signal, kill_process};

/// A process, and those that it starts. Dropped, they are ended.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts a program on core 0, with its log in a file, and waits until it listens.
    ///
    /// # Errors
    ///
    /// It does not start, or does not listen within 20 seconds.
    pub fn start(mut command: Command, log: &Path, listens: SocketAddr) -> io::Result<Self> {
        let file = File::create(log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        // What is started is where its starter is.
        cpu::pin(0)?;
        let child = command.spawn();
        cpu::pin(1)?;
        let mut process = Self { child: child? };
        let begin = Instant::now();
        while TcpStream::connect(listens).is_err() {
            let ended = process.child.try_wait()?;
            if ended.is_some() || begin.elapsed() > PATIENCE {
                let said = fs::read_to_string(log).unwrap_or_default();
                return Err(io::Error::other(format!("{command:?} does not listen: {said}")));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(process)
    }

    /// Nanoseconds that it and those it started have run.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn nanos(&self) -> io::Result<u64> {
        self.tree()?.into_iter().map(cpu::process_nanos).sum()
    }

    /// Bytes of memory that it and those it started have in use.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn resident(&self) -> io::Result<u64> {
        let resident = |pid: u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
            kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other("a process has no VmRSS"))
        };
        self.tree()?.into_iter().map(resident).sum()
    }

    fn tree(&self) -> io::Result<Vec<u32>> {
        let mut tree = vec![self.child.id()];
        let mut next = 0;
        while let Some(pid) = tree.get(next) {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
            tree.extend(
                children.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()),
            );
            next += 1;
        }
        Ok(tree)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A master that is killed leaves its workers, one that is told ends them.
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const PATIENCE: Duration = Duration::from_secs(20);
