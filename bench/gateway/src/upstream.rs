//! The application: it says what it saw, and nothing else. One thread over epoll, so that it costs
//! the load's core little.

use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;

use rustix::event::epoll;

use crate::head;

/// Bytes in an answer's body.
pub const BODY: usize = 256;

/// Starts one in a thread of this process, which ends with it.
///
/// # Errors
///
/// No port can be had.
pub fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::Builder::new().name("upstream".into()).spawn(move || {
        if let Err(error) = serve(listener) {
            eprintln!("gateway: the upstream ended: {error}");
        }
    })?;
    Ok(address)
}

/// The body that answers a request for `target`.
pub fn body(target: &[u8]) -> [u8; BODY] {
    let mut body = [b'.'; BODY];
    let length = target.len().min(BODY);
    body[..length].copy_from_slice(&target[..length]);
    body
}

/// Serves for ever.
///
/// # Errors
///
/// The operating system's.
pub fn serve(listener: TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut events = [MaybeUninit::uninit(); 64];
    loop {
        let (ready, _) = epoll::wait(&epoll, &mut events, None)?;
        for event in &*ready {
            if event.data.u64() == LISTENER {
                accept(&listener, &epoll, &mut connections)?;
                continue;
            }
            let place = &mut connections[event.data.u64() as usize];
            if !place.as_mut().is_some_and(Connection::answer) {
                *place = None;
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    epoll: impl std::os::fd::AsFd,
    connections: &mut Vec<Option<Connection>>,
) -> io::Result<()> {
    loop {
        let socket = match listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        let place = connections.iter().position(Option::is_none).unwrap_or(connections.len());
        let data = epoll::EventData::new_u64(place as u64);
        epoll::add(&epoll, &socket, data, epoll::EventFlags::IN)?;
        let connection = Some(Connection { socket, read: Vec::new() });
        match connections.get_mut(place) {
            Some(free) => *free = connection,
            None => connections.push(connection),
        }
    }
}

struct Connection {
    socket: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    /// Answers what is there. Says whether the connection is still good.
    fn answer(&mut self) -> bool {
        let mut bytes = [0; 4096];
        match self.socket.read(&mut bytes) {
            Ok(0) => return false,
            Ok(count) => self.read.extend_from_slice(&bytes[..count]),
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
        while let Some(end) = head::end(&self.read) {
            let request: Vec<u8> = self.read.drain(..end).collect();
            let target = request.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
            let account = head::field(&request, "x-account-id").unwrap_or(NOBODY);
            let mut answer = Vec::with_capacity(512);
            answer.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n");
            answer.extend_from_slice(format!("Content-Length: {BODY}\r\n").as_bytes());
            answer.extend_from_slice(b"X-Seen-Account: ");
            answer.extend_from_slice(account);
            answer.extend_from_slice(b"\r\n\r\n");
            answer.extend_from_slice(&body(target));
            // It fits into any socket's buffer, since a proxy asks one thing at a time.
            if self.socket.write_all(&answer).is_err() {
                return false;
            }
        }
        true
    }
}

/// What it saw of a request that named no account.
pub const NOBODY: &[u8] = b"-";
const LISTENER: u64 = u64::MAX;
