//! The servers. Each is a process of its own on core 0, says on its first line which port it
//! listens on, takes a number of connections, and ends when the last of them has been closed.

mod raw;
mod with_tokio;

use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;
use std::{process, thread};

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
    run: fn(TcpListener, usize) -> io::Result<()>,
}

/// All servers, the reference first.
pub const SERVERS: [Server; 2] = [
    Server { name: "raw", what: "raw epoll", run: raw::serve },
    Server { name: "tokio", what: "tokio, current_thread", run: with_tokio::serve },
];

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
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        println!("{}", listener.local_addr()?.port());
        io::stdout().flush()?;
        (self.run)(listener, connections)
    }
}
