//! monoio on its epoll driver, which it calls legacy: a task for each connection, whose buffer goes
//! to the driver and comes back.

use std::io;

use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{LegacyDriver, RuntimeBuilder};

use super::{LISTEN, announce};
use crate::shape::Shape;

/// Echoes until all connections are closed.
pub fn serve(shape: Shape) -> io::Result<()> {
    RuntimeBuilder::<LegacyDriver>::new().build()?.block_on(async move {
        let listener = TcpListener::bind(LISTEN)?;
        announce(listener.local_addr()?)?;
        let mut tasks = Vec::with_capacity(shape.connections);
        for _ in 0..shape.connections {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            tasks.push(monoio::spawn(echo(socket, shape.read())));
        }
        for task in tasks {
            task.await?;
        }
        Ok(())
    })
}

async fn echo(mut socket: TcpStream, read: usize) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(read);
    loop {
        let (count, filled) = socket.read(buffer).await;
        if count? == 0 {
            return Ok(());
        }
        let (written, back) = socket.write_all(filled).await;
        written?;
        buffer = back;
    }
}
