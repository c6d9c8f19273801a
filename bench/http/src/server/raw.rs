//! What the kernel makes everybody pay: epoll, a read and a write, and the ends of heads counted in
//! between. It answers without having read what it was asked.

use std::io;
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use measure::process::announce;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::{HELLO, LISTEN};

/// Answers that go out at once at most.
const ANSWERS: usize = 256;

#[derive(Debug)]
struct Connection {
    socket: TcpStream,
    /// How much of the empty line that ends a head has come.
    matched: u8,
}

/// Answers until this process ends.
pub fn serve() -> io::Result<()> {
    let listener = TcpListener::bind(LISTEN)?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let door = listener.as_raw_fd() as u64;
    epoll::add(&epoll, &listener, epoll::EventData::new_u64(door), epoll::EventFlags::IN)?;
    announce(listener.local_addr()?.port())?;

    // As many bytes as hyper's answer.
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\ndate: Tue, 24 Nov 2026 12:00:00 GMT\r\n\r\n{HELLO}",
        HELLO.len(),
    );
    let answers = answer.repeat(ANSWERS);
    // By descriptor.
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut events = [MaybeUninit::uninit(); 64];
    let mut buffer = [0; 4096];
    loop {
        let (ready, _) = epoll::wait(&epoll, &mut events, None)?;
        for event in &*ready {
            if event.data.u64() == door {
                accept(&listener, &epoll, &mut connections)?;
                continue;
            }
            let slot = &mut connections[event.data.u64() as usize];
            let Some(connection) = slot else { continue };
            let bytes = match recv(&connection.socket, &mut buffer, RecvFlags::empty()) {
                Ok((_, count)) if count > 0 => &buffer[..count],
                Ok(_) | Err(Errno::CONNRESET) => {
                    *slot = None;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let ended = connection.ended(bytes);
            let answer = &answers.as_bytes()[..ended * answer.len()];
            if send(&connection.socket, answer, SendFlags::NOSIGNAL)? < answer.len() {
                return Err(io::Error::other("answers were taken in part"));
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    epoll: impl std::os::fd::AsFd,
    connections: &mut Vec<Option<Connection>>,
) -> io::Result<()> {
    let (socket, _) = listener.accept()?;
    socket.set_nodelay(true)?;
    socket.set_nonblocking(true)?;
    let place = socket.as_raw_fd() as usize;
    let data = epoll::EventData::new_u64(place as u64);
    epoll::add(epoll, &socket, data, epoll::EventFlags::IN)?;
    if place >= connections.len() {
        connections.resize_with(place + 1, || None);
    }
    connections[place] = Some(Connection { socket, matched: 0 });
    Ok(())
}

impl Connection {
    /// How many heads end in these bytes.
    fn ended(&mut self, bytes: &[u8]) -> usize {
        let mut ended = 0;
        for byte in bytes {
            self.matched = match (self.matched, byte) {
                (0 | 2, b'\r') | (1, b'\n') => self.matched + 1,
                (3, b'\n') => {
                    ended += 1;
                    0
                }
                (_, b'\r') => 1,
                _ => 0,
            };
        }
        ended
    }
}
