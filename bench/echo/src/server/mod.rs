//! The servers. Each is a process of its own on core 0, says on its first line which port it
//! listens on, takes a number of connections, and ends when the last of them has been closed.

mod raw;
mod with_thence;
mod with_tokio;

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use std::{process, thread};

/// Where a server listens: any free port, and nobody from outside.
const LISTEN: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// What a server reads at most at once.
const READ: usize = 4096;

/// After this long a server ends whatever it does: nobody may be there any more to close it.
const LIFETIME: Duration = Duration::from_secs(180);

/// A server by its name on the command line, its name in the table, and what runs it.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// How the command line calls it.
    pub name: &'static str,
    /// How the table calls it.
    pub what: &'static str,
    run: fn(usize) -> io::Result<()>,
}

/// All servers.
pub const SERVERS: [Server; 4] = [
    Server { name: "raw", what: "raw epoll", run: raw::serve },
    Server { name: "tokio", what: "tokio, current_thread", run: with_tokio::serve },
    Server { name: "thence", what: "thence, a flow each", run: with_thence::serve_flows },
    Server { name: "thence-chain", what: "thence, a chain each", run: with_thence::serve_chains },
];

/// The place in [`SERVERS`] of the server that all others are compared with.
pub const RAW: usize = 0;

/// The place of the peer.
pub const TOKIO: usize = 1;

/// The places of our own.
pub const THENCE: [usize; 2] = [2, 3];

impl Server {
    /// Serves so many connections to their end.
    ///
    /// # Errors
    ///
    /// Whatever the server could not do.
    pub fn serve(&self, connections: usize) -> io::Result<()> {
        thread::spawn(|| {
            thread::sleep(LIFETIME);
            process::exit(3);
        });
        (self.run)(connections)
    }
}

/// Tells whoever started this process where it listens.
fn announce(address: SocketAddr) -> io::Result<()> {
    println!("{}", address.port());
    io::stdout().flush()
}
