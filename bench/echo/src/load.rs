//! The load: connections that each send a message, wait for it to come back, check it, and send the
//! next.

use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};

/// Bytes in a message.
pub const MESSAGE: usize = 64;

/// How long a server may take for an answer before it is given up.
const PATIENCE: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

/// Open connections to one server, all silent.
#[derive(Debug)]
pub struct Load {
    epoll: OwnedFd,
    connections: Vec<Connection>,
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
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Messages that came back as they were sent.
    pub answers: u64,
    /// From the first message to the last answer.
    pub time: Duration,
}

impl Load {
    /// Opens `count` connections to a server.
    ///
    /// # Errors
    ///
    /// The server is not there.
    pub fn connect(address: SocketAddr, count: u32) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut connections = Vec::new();
        for number in 0..count {
            let socket = TcpStream::connect(address)?;
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
            let data = epoll::EventData::new_u64(number.into());
            epoll::add(&epoll, &socket, data, epoll::EventFlags::IN)?;
            connections.push(Connection::new(socket, number));
        }
        Ok(Self { epoll, connections })
    }

    /// Sends messages on all connections, one at a time on each, and ends with all of them answered
    /// and the connections silent again.
    ///
    /// # Errors
    ///
    /// An answer that is not what was sent, a connection that broke, or no answer for 30 seconds.
    pub fn run(&mut self, until: Until) -> io::Result<Run> {
        let start = Instant::now();
        let mut answers = 0;
        let mut waiting = self.connections.len();
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
            let over = match until {
                Until::Each(_) => false,
                Until::Passed(time) => start.elapsed() >= time,
            };
            for event in &*ready {
                let connection = &mut self.connections[event.data.u64() as usize];
                if !connection.receive()? {
                    continue;
                }
                answers += 1;
                if over || matches!(until, Until::Each(each) if connection.answered == each) {
                    waiting -= 1;
                } else {
                    connection.send()?;
                }
            }
        }
        Ok(Run { answers, time: start.elapsed() })
    }

    /// Closes all connections.
    pub fn close(&mut self) {
        self.connections.clear();
    }
}

#[derive(Debug)]
struct Connection {
    socket: TcpStream,
    /// What was sent last: the connection's number, the message's, and bytes that follow from both.
    message: [u8; MESSAGE],
    sent: u32,
    /// What came back of it so far.
    answer: [u8; MESSAGE],
    received: usize,
    /// Answers in this run.
    answered: u64,
}

impl Connection {
    fn new(socket: TcpStream, number: u32) -> Self {
        let mut message = [0; MESSAGE];
        message[..4].copy_from_slice(&number.to_le_bytes());
        Self { socket, message, sent: 0, answer: [0; MESSAGE], received: 0, answered: 0 }
    }

    fn send(&mut self) -> io::Result<()> {
        self.sent = self.sent.wrapping_add(1);
        self.message[4..8].copy_from_slice(&self.sent.to_le_bytes());
        let fill = self.sent.wrapping_mul(31).wrapping_add(self.message[0].into());
        self.message[8..].fill(fill as u8);
        match self.socket.write(&self.message)? {
            MESSAGE => Ok(()),
            part => Err(io::Error::other(format!("only {part} bytes of a message were taken"))),
        }
    }

    /// Takes what is there, and says whether the answer is whole.
    fn receive(&mut self) -> io::Result<bool> {
        match self.socket.read(&mut self.answer[self.received..]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.received += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
        if self.received < MESSAGE {
            return Ok(false);
        }
        if self.answer != self.message {
            return Err(io::Error::other("an answer is not what was sent"));
        }
        self.received = 0;
        self.answered += 1;
        Ok(true)
    }
}
