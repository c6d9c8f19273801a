//! thence on its `ready` driver, once as flows and once as chains: a pending read each.

use std::io;
use std::rc::Rc;

use measure::process::announce;
use thence_core::{Deferred, Failure, flow};
use thence_reactor::net::{TcpListener, TcpStream};

use super::{LISTEN, READ};

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
