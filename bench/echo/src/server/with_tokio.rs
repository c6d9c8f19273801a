//! tokio on one thread: a task for each connection.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

use super::{LISTEN, READ, announce};

/// Echoes on so many connections until all are closed.
pub fn serve(connections: usize) -> io::Result<()> {
    Builder::new_current_thread().enable_io().build()?.block_on(async move {
        let listener = TcpListener::bind(LISTEN).await?;
        announce(listener.local_addr()?)?;
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
