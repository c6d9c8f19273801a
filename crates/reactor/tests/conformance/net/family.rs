//! The kinds of connections that there are.

use std::{net::SocketAddr, sync::OnceLock};

use thence_core::Deferred;
use thence_reactor::net::{
    TcpListener, TcpStream, Transport, UnixAddr, UnixListener, UnixStream,
    tls::{Certificates, Roots, TlsClient, TlsServer},
};

use crate::{
    common::{
        ANY,
        ca::{Ca, Pair as Pem},
        watch,
    },
    sockets,
    stage::Stage,
};

/// What carries a stream of bytes.
pub trait Family: 'static {
    const MORE_THAN_IT_HOLDS: usize;

    fn ends(stage: &mut Stage) -> (Transport, Transport);
}

/// What listens and is connected to.
///
/// A `map` would keep what was accepted from going back to the listener, so there is none.
pub trait Listens: Family {
    type Listener;
    type Addr: Clone;
    type Stream: Into<Transport> + 'static;
    type From: 'static;

    fn listen() -> Self::Listener;

    fn addr(listener: &Self::Listener) -> Self::Addr;

    fn accept(listener: &Self::Listener) -> Deferred<(Self::Stream, Self::From)>;

    fn connect(to: &Self::Addr) -> Deferred<Self::Stream>;

    fn close(listener: &Self::Listener);
}

pub struct Tcp;

pub struct Unix;

pub struct Pair;

/// TLS over TCP: the client's end and the server's.
pub struct Tls;

impl Family for Tcp {
    const MORE_THAN_IT_HOLDS: usize = 12 << 20;

    fn ends(stage: &mut Stage) -> (Transport, Transport) {
        connected::<Tcp>(stage)
    }
}

impl Family for Unix {
    const MORE_THAN_IT_HOLDS: usize = 1 << 20;

    fn ends(stage: &mut Stage) -> (Transport, Transport) {
        connected::<Unix>(stage)
    }
}

impl Family for Pair {
    const MORE_THAN_IT_HOLDS: usize = 1 << 20;

    fn ends(_: &mut Stage) -> (Transport, Transport) {
        let (one, two) = UnixStream::pair().unwrap();
        (one.into(), two.into())
    }
}

impl Family for Tls {
    const MORE_THAN_IT_HOLDS: usize = 12 << 20;

    fn ends(stage: &mut Stage) -> (Transport, Transport) {
        let (near, far) = connected::<Tcp>(stage);
        let (server, client) = authorized();
        let accepting = watch(server.accept(far));
        let near = stage.ok(client.connect(near, NAME));
        stage.until(&accepting);
        (near.into(), accepting.ok().into())
    }
}

/// A server, and a client that trusts it.
fn authorized() -> (TlsServer, TlsClient) {
    static PEM: OnceLock<(String, Pem)> = OnceLock::new();
    let (authority, pair) = PEM.get_or_init(|| {
        let ca = Ca::new("conformance");
        let pair = ca.issue(NAME);
        (ca.pem, pair)
    });
    let certificates = Certificates::from_pem(&pair.chain, &pair.key).unwrap();
    (TlsServer::new(&certificates), TlsClient::new(&Roots::from_pem(authority).unwrap()))
}

const NAME: &str = "app.example";

impl Listens for Tcp {
    type Listener = TcpListener;
    type Addr = SocketAddr;
    type Stream = TcpStream;
    type From = SocketAddr;

    fn listen() -> TcpListener {
        TcpListener::bind(ANY).unwrap()
    }

    fn addr(listener: &TcpListener) -> SocketAddr {
        listener.local_addr()
    }

    fn accept(listener: &TcpListener) -> Deferred<(TcpStream, SocketAddr)> {
        listener.accept()
    }

    fn connect(to: &SocketAddr) -> Deferred<TcpStream> {
        TcpStream::connect(*to)
    }

    fn close(listener: &TcpListener) {
        listener.close();
    }
}

impl Listens for Unix {
    type Listener = UnixListener;
    type Addr = UnixAddr;
    type Stream = UnixStream;
    type From = UnixAddr;

    fn listen() -> UnixListener {
        UnixListener::bind(sockets::a_name().unix().unwrap()).unwrap()
    }

    fn addr(listener: &UnixListener) -> UnixAddr {
        listener.local_addr().clone()
    }

    fn accept(listener: &UnixListener) -> Deferred<(UnixStream, UnixAddr)> {
        listener.accept()
    }

    fn connect(to: &UnixAddr) -> Deferred<UnixStream> {
        UnixStream::connect(to.clone())
    }

    fn close(listener: &UnixListener) {
        listener.close();
    }
}

/// Both ends of a connection: whoever connected, and what was accepted.
fn connected<F: Listens>(stage: &mut Stage) -> (Transport, Transport) {
    let listener = F::listen();
    let accepting = watch(F::accept(&listener));
    let ours = stage.ok(F::connect(&F::addr(&listener)));
    stage.until(&accepting);
    (ours.into(), accepting.ok().0.into())
}
