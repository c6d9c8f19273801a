//! smol on one thread: a task of a local executor for each connection.

use std::io;

use smol::LocalExecutor;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};

use super::{LISTEN, announce};
use crate::shape::Shape;

/// Echoes until all connections are closed.
pub fn serve(shape: Shape) -> io::Result<()> {
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(async {
        let listener = TcpListener::bind(LISTEN).await?;
        announce(listener.local_addr()?)?;
        let mut tasks = Vec::with_capacity(shape.connections);
        for _ in 0..shape.connections {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            tasks.push(executor.spawn(echo(socket, shape.read())));
        }
        for task in tasks {
            task.await?;
        }
        Ok(())
    }))
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
