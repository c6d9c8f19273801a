//! thence on its `ready` driver: as protocols, as flows and as chains. In the last two each read is
//! a Deferred of its own, and so is each write.

use std::io;
use std::rc::Rc;

use bytes::Bytes;
use thence_core::{Deferred, Failure, all, flow};
use thence_reactor::net::{Protocol, TcpListener, TcpStream, Transport, drive};

use super::{LISTEN, announce};
use crate::shape::Shape;

/// A flow for each connection.
pub fn serve_flows(shape: Shape) -> io::Result<()> {
    serve(shape, |socket, read| flow(echo(socket, read)))
}

/// A protocol for each connection.
pub fn serve_protocols(shape: Shape) -> io::Result<()> {
    serve(shape, |socket, _| drive(socket, Echo))
}

/// A chain for each connection, which returns itself.
pub fn serve_chains(shape: Shape) -> io::Result<()> {
    serve(shape, |socket, read| chain(Rc::new(socket), read))
}

fn serve(shape: Shape, echo: fn(TcpStream, usize) -> Deferred<()>) -> io::Result<()> {
    let served = thence_reactor::run(async move {
        let listener = TcpListener::bind(LISTEN)?;
        announce(listener.local_addr())?;
        let mut all_of_them = Vec::with_capacity(shape.connections);
        for _ in 0..shape.connections {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            all_of_them.push(echo(socket, shape.read()));
        }
        all(all_of_them).await?;
        Ok(())
    });
    served.map_err(|failure: Failure| io::Error::other(failure.to_string()))
}

struct Echo;

impl Protocol for Echo {
    fn received(&mut self, transport: &Transport, bytes: Bytes) {
        transport.send(bytes);
    }
}

async fn echo(socket: TcpStream, read: usize) -> Result<(), Failure> {
    loop {
        let bytes = socket.read(read).await?;
        if bytes.is_empty() {
            return Ok(());
        }
        socket.write(bytes).await?;
    }
}

fn chain(socket: Rc<TcpStream>, read: usize) -> Deferred<()> {
    socket.read(read).and_then(move |bytes| {
        if bytes.is_empty() {
            return Deferred::ok(());
        }
        let written = socket.write(bytes);
        written.and_then(move |()| chain(socket, read))
    })
}
