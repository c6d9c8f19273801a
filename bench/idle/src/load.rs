//! Connections that are opened and say nothing, or one thing.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use measure::process::Process;

/// How long a server may take to let everybody in, or for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Fewer than any server's queue of connections holds that it has not accepted.
const AT_ONCE: usize = 64;

/// Open connections to one server.
#[derive(Debug)]
pub struct Load<'a> {
    server: &'a Process,
    /// What the server has open besides.
    others: usize,
    connections: Vec<TcpStream>,
}

impl<'a> Load<'a> {
    /// No connection yet.
    ///
    /// # Errors
    ///
    /// The server has ended.
    pub fn new(server: &'a Process) -> io::Result<Self> {
        // What it opens when the first connection comes is not one.
        server.nanos_at_rest()?;
        Ok(Self { server, others: server.descriptors()?, connections: Vec::new() })
    }

    /// Opens connections until there are so many, and waits until the server has accepted all and
    /// sleeps.
    ///
    /// # Errors
    ///
    /// The server does not let them in.
    pub fn open(&mut self, count: usize) -> io::Result<()> {
        while self.connections.len() < count {
            for _ in 0..AT_ONCE.min(count - self.connections.len()) {
                let connection = TcpStream::connect(self.server.address())?;
                connection.set_nodelay(true)?;
                connection.set_read_timeout(Some(PATIENCE))?;
                self.connections.push(connection);
            }
            let start = Instant::now();
            while self.server.descriptors()? < self.others + self.connections.len() {
                if start.elapsed() > PATIENCE {
                    return Err(io::Error::other("connections were not accepted for 30 seconds"));
                }
                thread::sleep(Duration::from_micros(200));
            }
        }
        self.server.nanos_at_rest()?;
        Ok(())
    }

    /// Has a message echoed on each connection, one after the other, and waits until the server
    /// sleeps.
    ///
    /// # Errors
    ///
    /// An answer that is not what was sent, or none.
    pub fn echo(&mut self) -> io::Result<()> {
        for (number, connection) in self.connections.iter_mut().enumerate() {
            let mut message = [b'.'; 64];
            message[..8].copy_from_slice(&number.to_le_bytes());
            connection.write_all(&message)?;
            let mut answer = [0; 64];
            connection.read_exact(&mut answer)?;
            if answer != message {
                return Err(io::Error::other("an answer is not what was sent"));
            }
        }
        self.server.nanos_at_rest()?;
        Ok(())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.connections.len()
    }
}
