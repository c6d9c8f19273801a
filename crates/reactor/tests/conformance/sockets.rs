//! The kinds of sockets that there are, and how two of them meet.

use std::{
    net::{Ipv4Addr, Shutdown, SocketAddr},
    process,
    sync::atomic::{AtomicUsize, Ordering},
};

use thence_reactor::driver::{Address, Done, Socket, SocketKind, UnixAddr};

use crate::bench::Bench;

/// What listens and is connected to.
pub trait Listens {
    fn listen(bench: &mut Bench) -> (Socket, Address);
}

/// What carries a stream of bytes.
pub trait Streams {
    /// The end that receives and the end that sends.
    fn ends(bench: &mut Bench) -> (Socket, Socket);

    /// Says that nothing more is sent.
    fn finish(sender: &mut Option<Socket>) {
        sender.as_ref().expect("it is open").shutdown(Shutdown::Write).unwrap();
    }
}

/// What carries datagrams.
pub trait Datagrams {
    /// The end that receives, the end that sends, and where that sends to.
    fn ends(bench: &mut Bench) -> (Socket, Socket, Option<Address>);
}

pub struct Tcp;

pub struct Unix;

/// Two Unix sockets that were made together.
pub struct Pair;

pub struct Pipe;

pub struct Udp;

pub struct UnixDatagrams;

pub struct DatagramPair;

impl Listens for Tcp {
    fn listen(bench: &mut Bench) -> (Socket, Address) {
        let listener = bench.driver().listen(&ANY_PORT).unwrap();
        let addr = listener.local_addr().unwrap();
        (listener, addr)
    }
}

impl Listens for Unix {
    fn listen(bench: &mut Bench) -> (Socket, Address) {
        let addr = a_name();
        (bench.driver().listen(&addr).unwrap(), addr)
    }
}

impl Streams for Tcp {
    fn ends(bench: &mut Bench) -> (Socket, Socket) {
        connected::<Tcp>(bench)
    }
}

impl Streams for Unix {
    fn ends(bench: &mut Bench) -> (Socket, Socket) {
        connected::<Unix>(bench)
    }
}

impl Streams for Pair {
    fn ends(bench: &mut Bench) -> (Socket, Socket) {
        bench.driver().pair(SocketKind::Stream).unwrap()
    }
}

impl Streams for Pipe {
    fn ends(bench: &mut Bench) -> (Socket, Socket) {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let [reader, writer] =
            [reader, writer].map(|fd| bench.driver().adopt(fd, SocketKind::Pipe).unwrap());
        (reader, writer)
    }

    fn finish(sender: &mut Option<Socket>) {
        sender.take();
    }
}

impl Datagrams for Udp {
    fn ends(bench: &mut Bench) -> (Socket, Socket, Option<Address>) {
        bound(bench, || ANY_PORT)
    }
}

impl Datagrams for UnixDatagrams {
    fn ends(bench: &mut Bench) -> (Socket, Socket, Option<Address>) {
        bound(bench, a_name)
    }
}

impl Datagrams for DatagramPair {
    fn ends(bench: &mut Bench) -> (Socket, Socket, Option<Address>) {
        let (receiver, sender) = bench.driver().pair(SocketKind::Datagram).unwrap();
        (receiver, sender, None)
    }
}

/// Both ends of a connection: whoever connected, and what was accepted.
pub fn connected<F: Listens>(bench: &mut Bench) -> (Socket, Socket) {
    let (listener, addr) = F::listen(bench);
    let accept = bench.accept(&listener);
    let ours = bench.connect(&addr);
    let Done::Accepted(theirs, from) = bench.done(accept) else { panic!("accepts") };
    assert_eq!(ours.local_addr().unwrap(), from);
    assert_eq!(ours.peer_addr().unwrap(), addr);
    (ours, theirs)
}

fn bound(bench: &mut Bench, addr: fn() -> Address) -> (Socket, Socket, Option<Address>) {
    let [receiver, sender] = [addr(), addr()].map(|addr| bench.driver().datagrams(&addr).unwrap());
    let to = receiver.local_addr().unwrap();
    (receiver, sender, Some(to))
}

/// A name for a Unix socket that nobody else has.
pub fn a_name() -> Address {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    let n = LAST.fetch_add(1, Ordering::Relaxed);
    UnixAddr::Abstract(format!("thence-{}-{n}", process::id()).into_bytes()).into()
}

pub const ANY_PORT: Address =
    Address::Ip(SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0));
