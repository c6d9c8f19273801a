//! A server in a process of its own, and what the load sees of it.
//!
//! A server [announces](announce) its port on the first line of its output and [ends with its
//! input](end_with_input), so that none outlives the bench that started it, however that ends.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, process, thread};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{sched_getaffinity, sched_setaffinity};

use crate::callgrind::Profile;
use crate::cpu;

/// How long a server may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server. Dropped, it is killed.
#[derive(Debug)]
pub struct Process {
    child: Child,
    port: u16,
    /// Whether it ends by SIGTERM rather than with its input.
    by_signal: bool,
}

impl Process {
    /// Starts a server on core 0 that announces its port and ends with its input.
    ///
    /// # Errors
    ///
    /// It did not start, or announced no port.
    pub fn start(command: Command) -> io::Result<Self> {
        let mut process = Self::spawn(command, 0, false)?;
        let mut line = String::new();
        if let Some(out) = process.child.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let port = line.trim().parse();
        process.port = port.map_err(|_| {
            let said = line.trim();
            io::Error::other(format!("the first line of a server is its port, not '{said}'"))
        })?;
        Ok(process)
    }

    /// Starts a server on core 0 that was told its port and ends by SIGTERM, and waits until it
    /// listens. It ends with this process too.
    ///
    /// # Errors
    ///
    /// It did not start, or does not listen within 20 seconds.
    pub fn start_on(port: u16, command: &Command) -> io::Result<Self> {
        let mut guarded = Command::new("setpriv");
        guarded.args(["--pdeathsig", "TERM"]).arg(command.get_program()).args(command.get_args());
        let mut process = Self::spawn(guarded, port, true)?;
        let start = Instant::now();
        loop {
            match TcpStream::connect(process.address()) {
                Ok(_) => return Ok(process),
                Err(error) if start.elapsed() > PATIENCE => return Err(error),
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
            if let Some(status) = process.child.try_wait()? {
                return Err(io::Error::other(format!(
                    "a server ended before it listened: {status}"
                )));
            }
        }
    }

    fn spawn(mut command: Command, port: u16, by_signal: bool) -> io::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // What it is started on is what it stays on.
        let here = sched_getaffinity(None)?;
        cpu::pin(0)?;
        let child = command.spawn();
        sched_setaffinity(None, &here)?;
        Ok(Self { child: child?, port, by_signal })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Nanoseconds it has run, user space and kernel, all threads. They are read once it sleeps,
    /// because only then is the kernel's account of its time complete.
    ///
    /// # Errors
    ///
    /// It has ended, or does not come to rest within 20 seconds.
    pub fn nanos_at_rest(&self) -> io::Result<u64> {
        let start = Instant::now();
        let mut before = cpu::process_nanos(self.child.id())?;
        while start.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(2));
            let now = cpu::process_nanos(self.child.id())?;
            if now == before {
                return Ok(now);
            }
            before = now;
        }
        Err(io::Error::other("a server runs though nothing is asked of it"))
    }

    /// How many descriptors it has open.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn descriptors(&self) -> io::Result<usize> {
        let folder = format!("/proc/{}/fd", self.child.id());
        // Since Linux 6.2 the folder's size says it; listing thousands takes long.
        match fs::metadata(&folder)?.len() {
            0 => Ok(fs::read_dir(folder)?.count()),
            count => Ok(count as usize),
        }
    }

    /// Bytes of memory that are its own and no file's: what it has allocated and touched. The
    /// kernel walks its pages for this; the count in `status` may lag.
    ///
    /// # Errors
    ///
    /// It has ended, or the kernel has no smaps_rollup.
    pub fn anonymous_bytes(&self) -> io::Result<u64> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:"));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        let kibibytes = kibibytes.ok_or_else(|| io::Error::other("smaps_rollup without a sum"))?;
        Ok(kibibytes * 1024)
    }

    /// Tells it to end and waits until it has.
    ///
    /// # Errors
    ///
    /// It does not within 20 seconds, or ends with a failure.
    pub fn end(mut self) -> io::Result<()> {
        drop(self.child.stdin.take());
        if self.by_signal {
            kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        }
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(io::Error::other(format!("a server: {status}"))),
                None => thread::sleep(Duration::from_millis(5)),
            }
        }
        Err(io::Error::other("a server does not end though it was told to"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already, unless something went wrong.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command, under callgrind if there is a profile.
pub fn under(profile: Option<&Profile>, command: Command) -> Command {
    let Some(profile) = profile else { return command };
    let arguments: Vec<&OsStr> = command.get_args().collect();
    profile.command_of(command.get_program(), &arguments)
}

/// In a server: tells whoever started it where it listens.
///
/// # Errors
///
/// Nobody reads it.
pub fn announce(port: u16) -> io::Result<()> {
    println!("{port}");
    io::stdout().flush()
}

/// In a server: ends this process when its input does.
pub fn end_with_input() {
    thread::spawn(|| {
        let mut byte = [0];
        loop {
            match io::stdin().read(&mut byte) {
                Ok(0) => process::exit(0),
                Err(error) if error.kind() != ErrorKind::Interrupted => process::exit(1),
                _ => {}
            }
        }
    });
}

/// A port that is free, for a server that has to be told one.
///
/// # Errors
///
/// None is.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
