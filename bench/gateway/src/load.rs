//! The load: requests at a fixed rate over connections that are kept, whether the answers keep up or
//! not. Every answer is checked.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};

use crate::head;
use crate::sessions::Session;
use crate::upstream::{self, NOBODY};

/// Requests a second.
pub const RATE: u32 = 2_000;

/// Open connections to a proxy, all silent.
#[derive(Debug)]
pub struct Load {
    epoll: OwnedFd,
    connections: Vec<Connection>,
    /// Connections without a request under way, the one that is so for longest first.
    free: VecDeque<usize>,
}

/// What a run of requests came to.
#[derive(Debug)]
pub struct Run {
    /// From the moment a request was due to its answer's last byte, in ascending order.
    latencies: Vec<Duration>,
}

impl Run {
    /// A latency that this part of the requests stayed below.
    pub fn quantile(&self, part: f64) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get((last as f64 * part) as usize).copied().unwrap_or_default()
    }
}

impl Load {
    /// Opens connections to a proxy.
    ///
    /// # Errors
    ///
    /// It refuses one, or this process has no descriptor left.
    pub fn connect(address: SocketAddr, count: usize) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut connections = Vec::with_capacity(count);
        for number in 0..count {
            let socket = TcpStream::connect(address)?;
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
            let data = epoll::EventData::new_u64(number as u64);
            epoll::add(&epoll, &socket, data, epoll::EventFlags::IN)?;
            connections.push(Connection { socket, asked: None, read: Vec::new() });
        }
        Ok(Self { epoll, connections, free: (0..count).collect() })
    }

    /// Sends requests, each when it is due or as soon after that as a connection is free, and ends
    /// with all of them answered. Sessions and connections take turns.
    ///
    /// # Errors
    ///
    /// An answer that is not the right one, a connection that broke, or nothing for 30 seconds.
    pub fn run(
        &mut self,
        sessions: &[Session],
        knows_accounts: bool,
        requests: u32,
    ) -> io::Result<Run> {
        let mut latencies = Vec::with_capacity(requests as usize);
        let mut events = [MaybeUninit::uninit(); 64];
        let mut sent = 0;
        let begin = Instant::now();
        let due = |number: u32| begin + Duration::from_secs(1) * number / RATE;
        while latencies.len() < requests as usize {
            let mut wait = PATIENCE;
            while sent < requests
                && let Some(&place) = self.free.front()
            {
                let now = Instant::now();
                if due(sent) > now {
                    wait = due(sent) - now;
                    break;
                }
                let session = &sessions[sent as usize % sessions.len()];
                let account = if knows_accounts { session.account.as_bytes() } else { NOBODY };
                self.connections[place].ask(sent, due(sent), session, account)?;
                self.free.pop_front();
                sent += 1;
            }
            let timeout =
                Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
            let (ready, _) = epoll::wait(&self.epoll, &mut events, Some(&timeout))?;
            if ready.is_empty() && wait == PATIENCE {
                return Err(io::Error::new(ErrorKind::TimedOut, "no answer for 30 seconds"));
            }
            for event in &*ready {
                let place = event.data.u64() as usize;
                if let Some(due) = self.connections[place].receive()? {
                    latencies.push(due.elapsed());
                    self.free.push_back(place);
                }
            }
        }
        latencies.sort_unstable();
        Ok(Run { latencies })
    }
}

#[derive(Debug)]
struct Connection {
    socket: TcpStream,
    asked: Option<Asked>,
    read: Vec<u8>,
}

#[derive(Debug)]
struct Asked {
    due: Instant,
    target: String,
    account: Vec<u8>,
}

impl Connection {
    fn ask(
        &mut self,
        number: u32,
        due: Instant,
        session: &Session,
        account: &[u8],
    ) -> io::Result<()> {
        let target = format!("/orders/{number:07}?page=2");
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: app.test\r\nUser-Agent: bench\r\nAccept: */*\r\n\
             Cookie: {}\r\n\r\n",
            session.cookie
        );
        self.asked = Some(Asked { due, target, account: account.to_vec() });
        match self.socket.write(request.as_bytes())? {
            written if written == request.len() => Ok(()),
            part => Err(io::Error::other(format!("only {part} bytes of a request were taken"))),
        }
    }

    /// Takes what is there. When that makes the answer whole and right, gives the time at which the
    /// request was due.
    fn receive(&mut self) -> io::Result<Option<Instant>> {
        let mut bytes = [0; 4096];
        match self.socket.read(&mut bytes) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.read.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
        let Some(end) = head::end(&self.read) else { return Ok(None) };
        let Some(asked) = &self.asked else { return Err(wrong("an answer nobody asked for")) };
        let (head, body) = self.read.split_at(end);
        if !head.starts_with(b"HTTP/1.1 200 ") {
            return Err(wrong(&String::from_utf8_lossy(head)));
        }
        if head::field(head, "content-length") != Some(upstream::BODY.to_string().as_bytes()) {
            return Err(wrong("an answer's length is not what the upstream said"));
        }
        if body.len() < upstream::BODY {
            return Ok(None);
        }
        if body != upstream::body(asked.target.as_bytes()) {
            return Err(wrong("an answer's body is not what the upstream said"));
        }
        let seen = head::field(head, "x-seen-account").unwrap_or_default();
        if seen != asked.account {
            let (seen, account) = (seen.escape_ascii(), asked.account.escape_ascii());
            return Err(wrong(&format!(
                "the upstream saw account '{seen}' instead of '{account}'"
            )));
        }
        let due = asked.due;
        self.asked = None;
        self.read = Vec::new();
        Ok(Some(due))
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.to_owned())
}

/// How long nothing may happen.
const PATIENCE: Duration = Duration::from_secs(30);
