//! The load: connections that each send as many requests as the depth says in one piece, wait for
//! as many answers, check each, and send again.

use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};

use crate::server::HELLO;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: bench.test\r\n\r\n";

/// How long a server may take for an answer before it is given up.
const PATIENCE: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

/// Room for the answers to a batch; more than any server's answers to sixteen requests.
const BUFFER: usize = 16 * 1024;

/// Open connections to one server, all silent.
#[derive(Debug)]
pub struct Load {
    epoll: OwnedFd,
    connections: Vec<Connection>,
}

/// When a run of requests ends.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After so many batches on each connection.
    Batches(u64),
    /// After this time.
    Passed(Duration),
}

/// What a run of requests came to.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Answers, each of which was right.
    pub answers: u64,
    /// From the first request to the last answer.
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
            connections.push(Connection::new(socket));
        }
        Ok(Self { epoll, connections })
    }

    /// Sends requests on all connections, `depth` at a time on each, and ends with all of them
    /// answered and the connections silent again.
    ///
    /// # Errors
    ///
    /// A wrong answer, a connection that broke, or no answer for 30 seconds.
    pub fn run(&mut self, depth: usize, until: Until) -> io::Result<Run> {
        let batch = REQUEST.repeat(depth);
        let start = Instant::now();
        let mut answers = 0;
        let mut waiting = self.connections.len();
        for connection in &mut self.connections {
            connection.batches = 0;
            connection.send(&batch, depth)?;
        }
        let mut events = [MaybeUninit::uninit(); 64];
        while waiting > 0 {
            let (ready, _) = epoll::wait(&self.epoll, &mut events, Some(&PATIENCE))?;
            if ready.is_empty() {
                return Err(io::Error::new(ErrorKind::TimedOut, "no answer for 30 seconds"));
            }
            let over = match until {
                Until::Batches(_) => false,
                Until::Passed(time) => start.elapsed() >= time,
            };
            for event in &*ready {
                let connection = &mut self.connections[event.data.u64() as usize];
                if !connection.receive()? {
                    continue;
                }
                answers += depth as u64;
                if over || matches!(until, Until::Batches(count) if connection.batches == count) {
                    waiting -= 1;
                } else {
                    connection.send(&batch, depth)?;
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
    /// Requests that have no answer yet.
    asked: usize,
    /// What came and was not taken for an answer yet.
    received: Box<[u8; BUFFER]>,
    length: usize,
    /// The last head that was read and found right. The next one is the same until a second has
    /// passed, and then need not be read again.
    head: Vec<u8>,
    /// Batches answered in this run.
    batches: u64,
}

impl Connection {
    fn new(socket: TcpStream) -> Self {
        let received = Box::new([0; BUFFER]);
        Self { socket, asked: 0, received, length: 0, head: Vec::new(), batches: 0 }
    }

    fn send(&mut self, batch: &[u8], depth: usize) -> io::Result<()> {
        self.asked = depth;
        match self.socket.write(batch)? {
            part if part < batch.len() => {
                Err(io::Error::other(format!("only {part} bytes of a batch were taken")))
            }
            _ => Ok(()),
        }
    }

    /// Takes what is there, and says whether the batch is answered.
    fn receive(&mut self) -> io::Result<bool> {
        match self.socket.read(&mut self.received[self.length..]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.length += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
        let mut taken = 0;
        while let Some(length) = answer(&self.received[taken..self.length], &mut self.head)? {
            if self.asked == 0 {
                return Err(io::Error::other("an answer to a request that was not sent"));
            }
            self.asked -= 1;
            taken += length;
        }
        self.received.copy_within(taken..self.length, 0);
        self.length -= taken;
        if self.asked > 0 {
            return Ok(false);
        }
        if self.length > 0 {
            return Err(io::Error::other("more bytes came than the answers have"));
        }
        self.batches += 1;
        Ok(true)
    }
}

/// The length of the answer that `bytes` begin with, if all of it is there.
fn answer(bytes: &[u8], known: &mut Vec<u8>) -> io::Result<Option<usize>> {
    if known.is_empty() || !bytes.starts_with(known) {
        let Some(length) = head(bytes)? else { return Ok(None) };
        known.clear();
        known.extend_from_slice(&bytes[..length]);
    }
    let whole = known.len() + HELLO.len();
    match bytes.get(known.len()..whole) {
        None => Ok(None),
        Some(body) if body == HELLO.as_bytes() => Ok(Some(whole)),
        Some(body) => {
            let body = String::from_utf8_lossy(body);
            Err(io::Error::other(format!("the body is '{body}', not '{HELLO}'")))
        }
    }
}

/// The length of the head that `bytes` begin with: 200, and a body of the right length.
fn head(bytes: &[u8]) -> io::Result<Option<usize>> {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(bytes).map_err(io::Error::other)? {
        httparse::Status::Partial => return Ok(None),
        httparse::Status::Complete(length) => length,
    };
    if response.code != Some(200) {
        return Err(io::Error::other(format!("the status is {:?}, not 200", response.code)));
    }
    let lengths = response.headers.iter().filter(|h| h.name.eq_ignore_ascii_case("content-length"));
    let lengths: Vec<&[u8]> = lengths.map(|header| header.value).collect();
    if lengths != [HELLO.len().to_string().as_bytes()] {
        return Err(io::Error::other(
            "the head does not say how long the body is, or says it wrong",
        ));
    }
    Ok(Some(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_when_all_of_it_is_there() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello, world!";
        let mut known = Vec::new();
        for part in 0..whole.len() {
            assert_eq!(answer(&whole[..part], &mut known).unwrap(), None);
        }
        assert_eq!(answer(&whole.repeat(2), &mut known).unwrap(), Some(whole.len()));
    }

    #[test]
    fn a_wrong_answer_is_an_error() {
        for wrong in [
            "HTTP/1.1 404 Not Found\r\nContent-Length: 13\r\n\r\nHello, world!",
            "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nHello, world!",
            "HTTP/1.1 200 OK\r\n\r\nHello, world!",
            "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello, wurld!",
            "HTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello, world!",
        ] {
            assert!(answer(wrong.as_bytes(), &mut Vec::new()).is_err(), "{wrong}");
        }
    }
}
