//! may_minihttp: a stackful coroutine for each connection.

use std::io;
use std::net::Ipv4Addr;

use may_minihttp::{HttpService, HttpServiceFactory, Request, Response};
use measure::process::{announce, free_port};

use super::HELLO;

/// Answers until this process ends.
pub fn serve() -> io::Result<()> {
    may::config().set_workers(1);
    // It does not say which port it was given.
    let port = free_port()?;
    let server = Hello.start((Ipv4Addr::LOCALHOST, port))?;
    announce(port)?;
    server.join().map_err(|_| io::Error::other("the server panicked"))
}

struct Hello;

impl HttpServiceFactory for Hello {
    type Service = Self;

    fn new_service(&self, _: usize) -> Self {
        Self
    }
}

impl HttpService for Hello {
    fn call(&mut self, _: Request<'_, '_, '_>, response: &mut Response<'_>) -> io::Result<()> {
        response.body(HELLO);
        Ok(())
    }
}
