//! What the kernel makes everybody pay: epoll, a read and a write, and nothing around them.

use std::io;
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};

use rustix::event::epoll;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::{LISTEN, READ, announce};

/// Echoes on so many connections until all are closed.
pub fn serve(connections: usize) -> io::Result<()> {
    let listener = TcpListener::bind(LISTEN)?;
    announce(listener.local_addr()?)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut sockets: Vec<Option<TcpStream>> = Vec::with_capacity(connections);
    for number in 0..connections {
        let (socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&epoll, &socket, data, epoll::EventFlags::IN)?;
        sockets.push(Some(socket));
    }
    let mut open = connections;
    let mut events = [MaybeUninit::uninit(); 64];
    let mut buffer = [0; READ];
    while open > 0 {
        let (ready, _) = epoll::wait(&epoll, &mut events, None)?;
        for event in &*ready {
            let slot = &mut sockets[event.data.u64() as usize];
            let Some(socket) = slot else { continue };
            let (_, count) = recv(&*socket, &mut buffer, RecvFlags::empty())?;
            if count == 0 {
                *slot = None;
                open -= 1;
                continue;
            }
            // A message is far smaller than a socket's buffer and only one is under way on each
            // connection.
            if send(&*socket, &buffer[..count], SendFlags::NOSIGNAL)? < count {
                return Err(io::Error::other("a message was taken in part"));
            }
        }
    }
    Ok(())
}
