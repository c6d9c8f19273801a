//! tokio: a task for each connection.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

use super::{LISTEN, announce};
use crate::shape::Shape;

/// Echoes on one thread until all connections are closed.
pub fn serve_current_thread(shape: Shape) -> io::Result<()> {
    Builder::new_current_thread().enable_io().build()?.block_on(serve(shape))
}

/// The same on as many threads as tokio takes of itself: one, as it has one core.
pub fn serve_multi_thread(shape: Shape) -> io::Result<()> {
    Builder::new_multi_thread().enable_io().build()?.block_on(serve(shape))
}

async fn serve(shape: Shape) -> io::Result<()> {
    let listener = TcpListener::bind(LISTEN).await?;
    announce(listener.local_addr()?)?;
    let mut tasks = Vec::with_capacity(shape.connections);
    for _ in 0..shape.connections {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tasks.push(tokio::spawn(echo(socket, shape.read())));
    }
    for task in tasks {
        task.await??;
    }
    Ok(())
}

async fn echo(mut socket: TcpStream, read: usize) -> io::Result<()> {
    let mut buffer = vec![0; read];
    loop {
        match socket.read(&mut buffer).await? {
            0 => return Ok(()),
            count => socket.write_all(&buffer[..count]).await?,
        }
    }
}
