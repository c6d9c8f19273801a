//! A server process, seen from the load's side.

use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use measure::callgrind::Profile;
use measure::cpu;

use crate::load::{Load, Run, Until};
use crate::server::Program;
use crate::shape::Shape;

/// The core that servers have for themselves.
const SERVER_CORE: usize = 0;

/// The core of the load.
const LOAD_CORE: usize = 1;

/// A running server and the connections to it. Dropped, it is killed.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    load: Load,
}

/// What a window of messages cost the server.
#[derive(Clone, Debug)]
pub struct Window {
    pub run: Run,
    /// Nanoseconds the server ran, user space and kernel, all threads.
    pub nanos: u64,
}

impl Peer {
    /// Starts a server and connects to it.
    ///
    /// # Errors
    ///
    /// The server did not start.
    pub fn start(program: &Program, shape: Shape) -> io::Result<Self> {
        Self::spawn(program.command(shape), shape)
    }

    /// The same under callgrind.
    ///
    /// # Errors
    ///
    /// The server did not start.
    pub fn start_under(profile: &Profile, program: &Program, shape: Shape) -> io::Result<Self> {
        let plain = program.command(shape);
        let arguments: Vec<_> = plain.get_args().collect();
        Self::spawn(profile.command_of(plain.get_program(), &arguments), shape)
    }

    fn spawn(mut command: Command, shape: Shape) -> io::Result<Self> {
        // A process starts on the core its parent is on.
        pin(SERVER_CORE)?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        pin(LOAD_CORE)?;
        let mut child = child?;
        let connected = port(&mut child)
            .and_then(|port| Load::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), shape));
        match connected {
            Ok(load) => Ok(Self { child, load }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// Sends messages, and measures what they cost the server. Before and after it the server is
    /// asleep, so that the kernel's account of its time is complete.
    ///
    /// # Errors
    ///
    /// A wrong answer, or none.
    pub fn window(&mut self, until: Until) -> io::Result<Window> {
        let start = cpu::process_nanos(self.child.id())?;
        let run = self.load.run(until)?;
        thread::sleep(Duration::from_millis(1));
        let nanos = cpu::process_nanos(self.child.id())? - start;
        Ok(Window { run, nanos })
    }

    /// Closes the connections and waits for the server to end by itself.
    ///
    /// # Errors
    ///
    /// It does not within 20 seconds, or ends with a failure.
    pub fn close(mut self) -> io::Result<()> {
        self.load.close();
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(20) {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(io::Error::other(format!("a server: {status}"))),
                None => thread::sleep(Duration::from_millis(5)),
            }
        }
        Err(io::Error::other("a server does not end though all of its connections are closed"))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It has ended already, unless something went wrong.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pin(core: usize) -> io::Result<()> {
    cpu::pin(core).map_err(|error| {
        io::Error::other(format!("servers need core 0 and the load needs core 1: {error}"))
    })
}

fn port(child: &mut Child) -> io::Result<u16> {
    let mut line = String::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out).read_line(&mut line)?;
    }
    line.trim().parse().map_err(|_| io::Error::other(format!("a server said '{}'", line.trim())))
}
