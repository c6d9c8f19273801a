//! tokio on one thread: a task for each connection.

use std::io;
use std::net::TcpListener;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{self, TcpStream};
use tokio::runtime::Builder;

use super::READ;

/// Echoes on so many connections until all are closed.
pub fn serve(listener: TcpListener, connections: usize) -> io::Result<()> {
    Builder::new_current_thread().enable_io().build()?.block_on(async move {
        listener.set_nonblocking(true)?;
        let listener = net::TcpListener::from_std(listener)?;
        let mut tasks = Vec::with_capacity(connections);
        for _ in 0..connections {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            tasks.push(tokio::spawn(echo(socket)));
        }
        for task in tasks {
            task.await??;
        }
        Ok(())
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
