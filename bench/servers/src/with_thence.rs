//! thence on its `ready` driver: as protocols, and as flows and chains with a pending read each.

use std::io;
use std::rc::Rc;

use bytes::Bytes;
use measure::process::announce;
use thence_core::{Deferred, Failure, flow};
use thence_reactor::net::{Protocol, TcpListener, TcpStream, Transport, drive};

use super::{LISTEN, READ};

/// A protocol for each connection.
pub fn serve_protocols() -> io::Result<()> {
    serve(|socket| drive(socket, Echo))
}

/// A flow for each connection.
pub fn serve_flows() -> io::Result<()> {
    serve(|socket| flow(echo(socket)))
}

/// A chain for each connection, which returns itself.
pub fn serve_chains() -> io::Result<()> {
    serve(|socket| chain(Rc::new(socket)))
}

fn serve(echo: fn(TcpStream) -> Deferred<()>) -> io::Result<()> {
    let served = thence_reactor::run(async move {
        let listener = TcpListener::bind(LISTEN)?;
        announce(listener.local_addr().port())?;
        loop {
            let (socket, _) = listener.accept().await?;
            echo(socket).report();
        }
    });
    served.map_err(|failure: Failure| io::Error::other(failure.to_string()))
}

struct Echo;

impl Protocol for Echo {
    fn received(&mut self, transport: &Transport, bytes: Bytes) {
        transport.send(bytes);
    }
}

async fn echo(socket: TcpStream) -> Result<(), Failure> {
    loop {
        let bytes = socket.read(READ).await?;
        if bytes.is_empty() {
            return Ok(());
        }
        socket.write(bytes).await?;
    }
}

fn chain(socket: Rc<TcpStream>) -> Deferred<()> {
    socket.read(READ).and_then(move |bytes| {
        if bytes.is_empty() {
            return Deferred::ok(());
        }
        let written = socket.write(bytes);
        written.and_then(move |()| chain(socket))
    })
}
