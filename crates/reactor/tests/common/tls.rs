//! Both ends of TLS, for tests.

#![allow(dead_code, reason = "each test uses its part")]

use std::io;

use bytes::Bytes;
use thence_core::{Failure, flow, testing};
use thence_reactor::{
    Reactor,
    driver::manual::Manual,
    net::{
        TcpListener, TcpStream,
        tls::{Certificates, Roots, TlsClient, TlsServer, TlsStream},
    },
};

use crate::common::{ANY, World, ca::Ca, watch};

pub const NAME: &str = "app.example";

pub enum Driver {
    Manual(Manual),
    Ready,
}

/// A server, and a client that trusts it.
pub fn ends() -> (TlsServer, TlsClient) {
    ends_of("test")
}

pub fn ends_of(ca: &str) -> (TlsServer, TlsClient) {
    let ca = Ca::new(ca);
    let pair = ca.issue(NAME);
    let certificates = Certificates::from_pem(&pair.chain, &pair.key).unwrap();
    (TlsServer::new(&certificates), TlsClient::new(&Roots::from_pem(&ca.pem).unwrap()))
}

/// Runs `body` on each driver.
pub fn on_each_driver<F>(body: impl Fn(Driver) -> F)
where
    F: Future<Output = Result<(), Failure>> + 'static,
{
    thence_reactor::test(body(Driver::Ready));
    let manual = Manual::new();
    testing::check(|| {
        let builder = Reactor::builder().signals(false).driver(manual.clone());
        let mut reactor = builder.build().unwrap();
        reactor.run(body(Driver::Manual(manual.clone()))).unwrap();
    });
}

/// Both ends of a TLS connection, the client's first.
pub async fn connected(
    server: &TlsServer,
    client: &TlsClient,
) -> Result<(TlsStream, TlsStream), Failure> {
    let listener = TcpListener::bind(ANY)?;
    let connecting = TcpStream::connect(listener.local_addr());
    let (accepted, _) = listener.accept().await?;
    let accepting = server.accept(accepted);
    let connected = client.connect(connecting.await?, NAME).await?;
    Ok((connected, accepting.await?))
}

/// Both ends in a world of manual time.
pub fn pair(world: &mut World) -> (TlsStream, TlsStream) {
    let (server, client) = ends();
    let both = watch(flow(async move { connected(&server, &client).await }));
    world.settle();
    both.ok()
}

pub fn kind(failure: &Failure) -> io::ErrorKind {
    failure.downcast_ref::<io::Error>().map(io::Error::kind).expect("an I/O error")
}

pub fn numbers(len: usize) -> Bytes {
    (0..len).map(|n| (n % 251) as u8).collect()
}
