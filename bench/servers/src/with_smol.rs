//! smol on one thread: a task for each connection, which waits without a buffer.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;

use measure::process::announce;
use smol::{Async, LocalExecutor};

use super::{LISTEN, READ};

/// Echoes until this process ends.
pub fn serve() -> io::Result<()> {
    let executor = Rc::new(LocalExecutor::new());
    let tasks = executor.clone();
    smol::block_on(executor.run(async move {
        let listener = Async::<TcpListener>::bind(LISTEN)?;
        announce(listener.get_ref().local_addr()?.port())?;
        loop {
            let (socket, _) = listener.accept().await?;
            socket.get_ref().set_nodelay(true)?;
            tasks.spawn(echo(socket)).detach();
        }
    }))
}

async fn echo(socket: Async<TcpStream>) -> io::Result<()> {
    loop {
        socket.readable().await?;
        if at_once(socket.get_ref())? {
            return Ok(());
        }
    }
}

/// Echoes what is there, and says whether that was the end.
fn at_once(mut socket: &TcpStream) -> io::Result<bool> {
    let mut buffer = [0; READ];
    let count = match socket.read(&mut buffer) {
        Ok(count) => count,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
        Err(error) => return Err(error),
    };
    socket.write_all(&buffer[..count])?;
    Ok(count == 0)
}
