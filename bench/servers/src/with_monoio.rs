//! monoio on its epoll driver: a task for each connection, which waits without a buffer.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use measure::process::announce;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{LegacyDriver, RuntimeBuilder};

use super::{LISTEN, READ};

/// Echoes until this process ends.
pub fn serve() -> io::Result<()> {
    RuntimeBuilder::<LegacyDriver>::new().build()?.block_on(async {
        let listener = TcpListener::bind(LISTEN)?;
        announce(listener.local_addr()?.port())?;
        let shared = Rc::new(Cell::new(Vec::with_capacity(READ)));
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            monoio::spawn(echo(socket, shared.clone()));
        }
    })
}

async fn echo(mut socket: TcpStream, shared: Rc<Cell<Vec<u8>>>) -> io::Result<()> {
    loop {
        socket.readable(false).await?;
        let mut buffer = shared.take();
        buffer.clear();
        buffer.reserve(READ);
        let (read, buffer) = socket.read(buffer).await;
        if read? == 0 {
            shared.set(buffer);
            return Ok(());
        }
        let (written, buffer) = socket.write_all(buffer).await;
        shared.set(buffer);
        written?;
    }
}
