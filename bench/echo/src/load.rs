//! The load: connections that each send a message, wait for it to come back, check it, and send the
//! next.

use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use measure::sample::Sample;
use rustix::event::{Timespec, epoll};

use crate::connection::Connection;
use crate::shape::Shape;

/// How long a server may take for an answer before it is given up.
const PATIENCE: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

/// Open connections to one server, all silent.
#[derive(Debug)]
pub struct Load {
    epoll: OwnedFd,
    connections: Vec<Connection>,
    /// For what comes back, until it is checked.
    buffer: Vec<u8>,
}

/// When a run of messages ends.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After so many answers on each connection.
    Each(u64),
    /// After this time.
    Passed(Duration),
}

/// What a run of messages came to.
#[derive(Clone, Debug)]
pub struct Run {
    /// Messages that came back as they were sent.
    pub answers: u64,
    /// From the first message to the last answer.
    pub time: Duration,
    /// Microseconds from each message to its answer, where there is one connection.
    pub trips: Sample,
}

impl Load {
    /// Opens the connections to a server.
    ///
    /// # Errors
    ///
    /// The server is not there.
    pub fn connect(address: SocketAddr, shape: Shape) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        // Told once of each change, a connection need not say when it waits to send.
        let changes = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        let mut connections = Vec::with_capacity(shape.connections);
        for number in 0..shape.connections {
            let connection = Connection::open(address, number as u32, shape.message)?;
            let data = epoll::EventData::new_u64(number as u64);
            epoll::add(&epoll, connection.socket(), data, changes)?;
            connections.push(connection);
        }
        Ok(Self { epoll, connections, buffer: vec![0; shape.message] })
    }

    /// Sends messages on all connections, one at a time on each, and ends with all of them answered
    /// and the connections silent again.
    ///
    /// # Errors
    ///
    /// An answer that is not what was sent, a connection that broke, or no answer for 30 seconds.
    pub fn run(&mut self, until: Until) -> io::Result<Run> {
        let mut run = Run { answers: 0, time: Duration::ZERO, trips: Sample::default() };
        let mut waiting = self.connections.len();
        let alone = waiting == 1;
        let start = Instant::now();
        let mut sent = start;
        for connection in &mut self.connections {
            connection.answered = 0;
            connection.send()?;
        }
        let mut events = [MaybeUninit::uninit(); 64];
        while waiting > 0 {
            let (ready, _) = epoll::wait(&self.epoll, &mut events, Some(&PATIENCE))?;
            if ready.is_empty() {
                return Err(io::Error::new(ErrorKind::TimedOut, "no answer for 30 seconds"));
            }
            let now = Instant::now();
            let over = matches!(until, Until::Passed(time) if now - start >= time);
            for event in &*ready {
                let connection = &mut self.connections[event.data.u64() as usize];
                if !connection.advance(&mut self.buffer)? {
                    continue;
                }
                run.answers += 1;
                if alone {
                    run.trips.push((now - sent).as_secs_f64() * 1e6);
                    sent = Instant::now();
                }
                if over || matches!(until, Until::Each(each) if connection.answered == each) {
                    waiting -= 1;
                } else {
                    connection.send()?;
                }
            }
        }
        run.time = start.elapsed();
        Ok(run)
    }

    /// Closes all connections.
    pub fn close(&mut self) {
        self.connections.clear();
    }
}
