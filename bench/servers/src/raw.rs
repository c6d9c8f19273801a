//! What the kernel makes everybody pay: epoll, a read and a write, and nothing around them.

use std::io;
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use measure::process::announce;
use rustix::event::epoll;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::{LISTEN, READ};

/// Echoes until this process ends.
pub fn serve() -> io::Result<()> {
    let listener = TcpListener::bind(LISTEN)?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let door = listener.as_raw_fd() as u64;
    epoll::add(&epoll, &listener, epoll::EventData::new_u64(door), epoll::EventFlags::IN)?;
    announce(listener.local_addr()?.port())?;
    // By descriptor.
    let mut sockets: Vec<Option<TcpStream>> = Vec::new();
    let mut events = [MaybeUninit::uninit(); 64];
    let mut buffer = [0; READ];
    loop {
        let (ready, _) = epoll::wait(&epoll, &mut events, None)?;
        for event in &*ready {
            if event.data.u64() == door {
                let (socket, _) = listener.accept()?;
                socket.set_nodelay(true)?;
                socket.set_nonblocking(true)?;
                let place = socket.as_raw_fd() as usize;
                let data = epoll::EventData::new_u64(place as u64);
                epoll::add(&epoll, &socket, data, epoll::EventFlags::IN)?;
                if place >= sockets.len() {
                    sockets.resize_with(place + 1, || None);
                }
                sockets[place] = Some(socket);
                continue;
            }
            let slot = &mut sockets[event.data.u64() as usize];
            let Some(socket) = slot else { continue };
            let (_, count) = recv(&*socket, &mut buffer, RecvFlags::empty())?;
            if count == 0 {
                *slot = None;
                continue;
            }
            if send(&*socket, &buffer[..count], SendFlags::NOSIGNAL)? < count {
                return Err(io::Error::other("a message was taken in part"));
            }
        }
    }
}
