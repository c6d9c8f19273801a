//! tokio on one thread: a task for each connection.

use std::io::{self, ErrorKind};

use measure::process::announce;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

use super::{LISTEN, READ};

/// As everybody writes it: the buffer is part of the task.
pub fn serve() -> io::Result<()> {
    serve_with(echo)
}

/// Sparing with memory: the buffer is on the stack, and only while there is something to read.
pub fn serve_shared() -> io::Result<()> {
    serve_with(echo_shared)
}

fn serve_with<F>(echo: fn(TcpStream) -> F) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    Builder::new_current_thread().enable_io().build()?.block_on(async move {
        let listener = TcpListener::bind(LISTEN).await?;
        announce(listener.local_addr()?.port())?;
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            // Not in a future around it, which would be twice as large.
            tokio::spawn(echo(socket));
        }
    })
}

async fn echo(mut socket: TcpStream) -> io::Result<()> {
    let mut buffer = [0; READ];
    loop {
        match socket.read(&mut buffer).await? {
            0 => return Ok(()),
            count => socket.write_all(&buffer[..count]).await?,
        }
    }
}

async fn echo_shared(socket: TcpStream) -> io::Result<()> {
    loop {
        socket.readable().await?;
        if at_once(&socket)? {
            return Ok(());
        }
    }
}

/// Echoes what is there, and says whether that was the end.
fn at_once(socket: &TcpStream) -> io::Result<bool> {
    let mut buffer = [0; READ];
    let count = match socket.try_read(&mut buffer) {
        Ok(count) => count,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
        Err(error) => return Err(error),
    };
    if count > 0 && socket.try_write(&buffer[..count])? < count {
        return Err(io::Error::other("a message was taken in part"));
    }
    Ok(count == 0)
}
