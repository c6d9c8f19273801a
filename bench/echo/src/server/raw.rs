//! What the kernel makes everybody pay: epoll, a read and a write, and nothing around them.

use std::io;
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::{LISTEN, announce};
use crate::shape::Shape;

/// Echoes until all connections are closed.
pub fn serve(shape: Shape) -> io::Result<()> {
    let listener = TcpListener::bind(LISTEN)?;
    announce(listener.local_addr()?)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut connections = Vec::with_capacity(shape.connections);
    for number in 0..shape.connections {
        let (socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&epoll, &socket, data, epoll::EventFlags::IN)?;
        connections.push(Some(Connection { socket, data, rest: Vec::new() }));
    }
    let mut open = shape.connections;
    let mut events = [MaybeUninit::uninit(); 64];
    let mut buffer = vec![0; shape.read()];
    while open > 0 {
        let (ready, _) = epoll::wait(&epoll, &mut events, None)?;
        for event in &*ready {
            let slot = &mut connections[event.data.u64() as usize];
            let Some(connection) = slot else { continue };
            if !connection.rest.is_empty() {
                connection.send_rest(&epoll)?;
                continue;
            }
            let (_, count) = recv(&connection.socket, &mut buffer[..], RecvFlags::empty())?;
            if count == 0 {
                *slot = None;
                open -= 1;
                continue;
            }
            let taken = taken(&connection.socket, &buffer[..count])?;
            if taken < count {
                connection.keep(&epoll, &buffer[taken..count])?;
            }
        }
    }
    Ok(())
}

struct Connection {
    socket: TcpStream,
    data: epoll::EventData,
    /// What the kernel did not take. While there is any nothing is read.
    rest: Vec<u8>,
}

impl Connection {
    fn keep(&mut self, epoll: &OwnedFd, rest: &[u8]) -> io::Result<()> {
        self.rest.extend_from_slice(rest);
        Ok(epoll::modify(epoll, &self.socket, self.data, epoll::EventFlags::OUT)?)
    }

    fn send_rest(&mut self, epoll: &OwnedFd) -> io::Result<()> {
        let taken = taken(&self.socket, &self.rest)?;
        self.rest.drain(..taken);
        if self.rest.is_empty() {
            epoll::modify(epoll, &self.socket, self.data, epoll::EventFlags::IN)?;
        }
        Ok(())
    }
}

fn taken(socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match send(socket, bytes, SendFlags::NOSIGNAL) {
        Ok(count) => Ok(count),
        Err(Errno::AGAIN) => Ok(0),
        Err(error) => Err(error.into()),
    }
}
