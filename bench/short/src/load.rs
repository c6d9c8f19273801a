//! The load: clients that each connect, send a message, wait for it to come back, check it, close,
//! and begin again.

use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, connect, recv, send,
    socket_with, sockopt,
};

/// Bytes in a message.
pub const MESSAGE: usize = 64;

/// Clients at a time.
pub const CLIENTS: u64 = 16;

/// How long a server may take for an answer before it is given up.
const PATIENCE: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

/// Connections from one address. Who closes first keeps the port for a minute, and an address has
/// 28,000 of them.
const FROM_ONE: u64 = 8_000;

/// What all connections of this process are made by.
#[derive(Debug)]
pub struct Load {
    epoll: OwnedFd,
    /// Connections so far.
    made: u64,
}

/// A connection whose answer is not there yet.
#[derive(Debug)]
struct Client {
    socket: OwnedFd,
    message: [u8; MESSAGE],
    answer: [u8; MESSAGE],
    received: usize,
}

impl Load {
    /// No connection yet.
    ///
    /// # Errors
    ///
    /// The system has no epoll for it.
    pub fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?, made: 0 })
    }

    /// Makes so many connections to a server, and says how long that took.
    ///
    /// # Errors
    ///
    /// A connection that broke, an answer that is not what was sent, or none for 30 seconds.
    pub fn run(&mut self, server: SocketAddr, count: u64) -> io::Result<Duration> {
        let start = Instant::now();
        let (mut begun, mut over) = (0, 0);
        let mut clients = Vec::new();
        while begun < CLIENTS.min(count) {
            clients.push(self.connect(server, begun)?);
            begun += 1;
        }
        let mut events = [MaybeUninit::uninit(); CLIENTS as usize];
        while over < count {
            let (ready, _) = epoll::wait(&self.epoll, &mut events, Some(&PATIENCE))?;
            if ready.is_empty() {
                return Err(io::Error::new(ErrorKind::TimedOut, "no answer for 30 seconds"));
            }
            for event in &*ready {
                let place = event.data.u64();
                let client = &mut clients[place as usize];
                if !client.receive()? {
                    continue;
                }
                over += 1;
                if begun < count {
                    // The one before closes as it is replaced.
                    *client = self.connect(server, place)?;
                    begun += 1;
                } else {
                    epoll::delete(&self.epoll, &client.socket)?;
                }
            }
        }
        Ok(start.elapsed())
    }

    fn connect(&mut self, server: SocketAddr, place: u64) -> io::Result<Client> {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        let [.., high, low] = (self.made / FROM_ONE).to_be_bytes();
        bind(&socket, &SocketAddr::from((Ipv4Addr::new(127, 1, high, low), 0)))?;
        connect(&socket, &server)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        let mut message = [b'.'; MESSAGE];
        message[..8].copy_from_slice(&self.made.to_le_bytes());
        if send(&socket, &message, SendFlags::NOSIGNAL)? < MESSAGE {
            return Err(io::Error::other("a message was taken in part"));
        }
        let data = epoll::EventData::new_u64(place);
        epoll::add(&self.epoll, &socket, data, epoll::EventFlags::IN)?;
        self.made += 1;
        Ok(Client { socket, message, answer: [0; MESSAGE], received: 0 })
    }
}

impl Client {
    /// Takes what is there, and says whether the answer is whole.
    fn receive(&mut self) -> io::Result<bool> {
        match recv(&self.socket, &mut self.answer[self.received..], RecvFlags::DONTWAIT)? {
            (_, 0) => return Err(ErrorKind::UnexpectedEof.into()),
            (_, count) => self.received += count,
        }
        if self.received == MESSAGE && self.answer != self.message {
            return Err(io::Error::other("an answer is not what was sent"));
        }
        Ok(self.received == MESSAGE)
    }
}
