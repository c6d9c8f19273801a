//! thence-http: hyper on thence's reactor, with the limits a server of it always has.

use std::io;
use std::time::Duration;

use measure::process::announce;
use thence_core::{Deferred, Failure};
use thence_http::{Body, Response, Server};

use super::{HELLO, LISTEN};

/// Answers until this process ends.
pub fn serve() -> io::Result<()> {
    let served = thence_reactor::run(async {
        let server = Server::bind(LISTEN)?.head_deadline(Duration::from_secs(60));
        announce(server.local_addr().port())?;
        server.serve(|_| Deferred::ok(Response::new(Body::from(HELLO)))).ended().await;
        Ok(())
    });
    served.map_err(|failure: Failure| io::Error::other(failure.to_string()))
}
