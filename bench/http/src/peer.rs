//! A server and the connections to it.

use std::io;

use measure::callgrind::Profile;
use measure::process::Process;

use crate::load::{Load, Run, Until};
use crate::server::{Folder, Server};

/// Connections to a server.
pub const CONNECTIONS: u32 = 64;

/// A running server and the connections to it.
#[derive(Debug)]
pub struct Peer {
    process: Process,
    load: Load,
    _folder: Option<Folder>,
}

/// What a window of requests cost the server.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub run: Run,
    /// Nanoseconds the server ran, user space and kernel, all threads.
    pub nanos: u64,
}

impl Peer {
    /// Starts a server, under callgrind if there is a profile, and connects to it.
    ///
    /// # Errors
    ///
    /// The server did not start.
    pub fn start(server: &Server, profile: Option<&Profile>) -> io::Result<Self> {
        let (process, folder) = server.start(profile)?;
        let load = Load::connect(process.address(), CONNECTIONS)?;
        Ok(Self { process, load, _folder: folder })
    }

    /// Sends requests, and measures what they cost the server.
    ///
    /// # Errors
    ///
    /// A wrong answer, or none.
    pub fn window(&mut self, depth: usize, until: Until) -> io::Result<Window> {
        let start = self.process.nanos_at_rest()?;
        let run = self.load.run(depth, until)?;
        let nanos = self.process.nanos_at_rest()? - start;
        Ok(Window { run, nanos })
    }

    /// Closes the connections and tells the server to end.
    ///
    /// # Errors
    ///
    /// It does not, or ends with a failure.
    pub fn close(mut self) -> io::Result<()> {
        self.load.close();
        self.process.end()
    }
}
