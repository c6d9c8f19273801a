//! Datagrams: who leaves or cancels where, and what the next one sees.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use thence_core::{Deferred, Failure, flow};
use thence_reactor::{
    DeferredExt, Elapsed, Reactor,
    driver::manual::{Manual, PeerDatagrams},
    net::{UdpSocket, UnixAddr, UnixDatagram},
    sleep,
};

use crate::common::{ANY, World, ms, watch};

fn kind(failure: &Failure) -> io::ErrorKind {
    failure.downcast_ref::<io::Error>().map(io::Error::kind).expect("an I/O error")
}

/// A socket of the reactor, and one outside of it.
fn sockets(world: &World) -> (UdpSocket, PeerDatagrams) {
    (UdpSocket::bind(ANY).unwrap(), world.manual.datagrams(ANY).unwrap())
}

fn send(peer: &PeerDatagrams, text: &'static str, to: SocketAddr) {
    assert!(peer.send_to(text, to).unwrap());
}

#[test]
fn datagrams_come_whole_in_order_and_with_their_sender() {
    let mut world = World::new();
    let (socket, peer) = sockets(&world);
    let to = socket.local_addr().unwrap();
    let (first, second) = (watch(socket.recv_from()), watch(socket.recv()));
    for text in ["one", "", "three"] {
        send(&peer, text, to);
    }
    world.settle();
    assert_eq!(first.ok(), (Bytes::from("one"), peer.local_addr()));
    assert_eq!(second.ok(), "");
    let third = watch(socket.recv_from());
    world.settle();
    assert_eq!(third.ok().0, "three");
}

/// Leaves, or cancels, a receive after so many turns; then another receives.
fn quit_a_receive(turns: usize, sent_before: bool, how: fn(Deferred<(Bytes, SocketAddr)>)) {
    let mut world = World::new();
    let (socket, peer) = sockets(&world);
    let to = socket.local_addr().unwrap();
    if sent_before {
        send(&peer, "one", to);
        world.settle();
    }
    let first = socket.recv_from();
    for _ in 0..turns {
        world.reactor.turn(Some(ms(0))).unwrap();
    }
    how(first);
    if !sent_before {
        send(&peer, "one", to);
    }
    send(&peer, "two", to);
    world.settle();
    let both = [watch(socket.recv()), watch(socket.recv())];
    world.settle();
    assert_eq!(both.map(|one| one.ok()), ["one", "two"], "{turns} turns, before: {sent_before}");
}

#[test]
fn a_receive_that_quits_at_any_point_loses_nothing() {
    let leave: fn(Deferred<_>) = |receive| drop(receive);
    let cancel: fn(Deferred<_>) = |receive| {
        receive.cancel();
        drop(receive);
    };
    let leave_and_cancel: fn(Deferred<_>) = |receive| {
        let canceller = receive.canceller();
        drop(receive);
        canceller.cancel();
    };
    for how in [leave, cancel, leave_and_cancel] {
        for turns in 0..4 {
            for sent_before in [false, true] {
                quit_a_receive(turns, sent_before, how);
            }
        }
    }
}

#[test]
fn a_datagram_that_comes_back_goes_to_whoever_waits_already() {
    let mut world = World::new();
    let (socket, peer) = sockets(&world);
    let (first, second) = (socket.recv_from(), watch(socket.recv()));
    send(&peer, "x", socket.local_addr().unwrap());
    world.settle();
    assert!(first.is_ready() && !second.has_ended());
    drop(first);
    world.settle();
    assert_eq!(second.ok(), "x");
}

#[test]
fn whoever_leaves_first_datagrams_come_back_in_order() {
    for swapped in [false, true] {
        let mut world = World::new();
        let (socket, peer) = sockets(&world);
        for text in ["a", "b", "c"] {
            send(&peer, text, socket.local_addr().unwrap());
        }
        let mut receives = [socket.recv(), socket.recv(), socket.recv()];
        world.settle();
        assert!(receives.iter().all(Deferred::is_ready));
        if swapped {
            receives.reverse();
        }
        drop(receives);
        let again = [watch(socket.recv()), watch(socket.recv()), watch(socket.recv())];
        world.settle();
        assert_eq!(again.map(|receive| receive.ok()), ["a", "b", "c"]);
    }
}

#[test]
fn a_cancelled_receive_ends_cancelled_and_the_others_go_on() {
    let mut world = World::new();
    let (socket, peer) = sockets(&world);
    let first = socket.recv();
    let canceller = first.canceller();
    let (first, second) = (watch(first), watch(socket.recv()));
    world.settle();
    canceller.cancel();
    world.settle();
    assert!(first.is_cancelled());
    send(&peer, "x", socket.local_addr().unwrap());
    world.settle();
    assert_eq!(second.ok(), "x");
}

#[test]
fn a_timeout_on_a_receive_keeps_what_comes_late() {
    let mut world = World::new();
    let (socket, peer) = sockets(&world);
    let limited = watch(socket.recv().timeout(ms(5)));
    world.pass(ms(5));
    assert!(limited.err().is::<Elapsed>());
    send(&peer, "late", socket.local_addr().unwrap());
    let next = watch(socket.recv().timeout(ms(5)));
    world.settle();
    assert_eq!(next.ok(), "late");
}

#[test]
fn sends_keep_their_order() {
    let mut world = World::new();
    let (socket, peer) = sockets(&world);
    let to = peer.local_addr();
    let sends = ["a", "b", "c"].map(|text| watch(socket.send_to(text, to)));
    world.settle();
    sends.iter().for_each(|send| send.ok());
    let from = socket.local_addr().unwrap();
    for text in ["a", "b", "c"] {
        assert_eq!(peer.receive().unwrap(), (text.into(), from.into()));
    }
    assert_eq!(peer.receive(), None);
}

#[test]
fn a_send_to_a_full_socket_is_tried_again_and_those_behind_it_wait() {
    let mut world = World::new();
    let peer = world.manual.datagrams(UnixAddr::Path("peer".into())).unwrap();
    while peer.send_to("filler", peer.local_address()).unwrap() {}
    let socket = UnixDatagram::unbound().unwrap();
    let to = || UnixAddr::Path("peer".into());
    let never = socket.send_to("never", to());
    let sends = ["one", "two"].map(|text| watch(socket.send_to(text, to())));
    drop(socket.send_to("left", to()));
    drop(socket);
    world.settle();
    never.cancel();
    assert!(watch(never).is_cancelled());
    world.pass(ms(100));
    assert!(sends.iter().all(|send| !send.has_ended()));
    while peer.receive().is_some_and(|(bytes, _)| bytes == "filler") {}
    world.pass(ms(16));
    sends.iter().for_each(|send| send.ok());
    let came = std::iter::from_fn(|| peer.receive()).map(|(bytes, _)| bytes);
    assert_eq!(came.collect::<Vec<_>>(), ["one", "two", "left"]);
}

/// Sends until the other end has no room; gives how many that were.
fn fill(world: &mut World, socket: &UnixDatagram) -> usize {
    for sent in 0.. {
        let send = watch(socket.send("filler"));
        world.settle();
        if !send.has_ended() {
            return sent + 1;
        }
    }
    unreachable!("there is room for some only")
}

#[test]
fn a_unix_send_waits_for_room_and_those_behind_it_keep_their_order() {
    let mut world = World::new();
    let (here, there) = UnixDatagram::pair().unwrap();
    let sent = fill(&mut world, &here);
    let cancelled = here.send("never");
    let canceller = cancelled.canceller();
    let (cancelled, last) = (watch(cancelled), watch(here.send("last")));
    drop(here.send("left"));
    world.settle();
    canceller.cancel();
    world.settle();
    assert!(cancelled.is_cancelled() && !last.has_ended());
    for _ in 0..sent {
        let filler = watch(there.recv());
        world.settle();
        assert_eq!(filler.ok(), "filler");
    }
    last.ok();
    let rest = [watch(there.recv()), watch(there.recv()), watch(there.recv())];
    world.settle();
    assert_eq!(rest[0].ok(), "last");
    assert_eq!(rest[1].ok(), "left");
    assert!(!rest[2].has_ended(), "what was cancelled in time was not sent");
}

#[test]
fn a_send_error_is_told_to_its_own_send() {
    let mut world = World::new();
    let (here, there) = UnixDatagram::pair().unwrap();
    let before = watch(here.send("before"));
    let nowhere = watch(here.send_to("x", Path::new("nobody/here")));
    let after = watch(here.send("after"));
    world.settle();
    before.ok();
    after.ok();
    let failure = nowhere.err();
    assert_eq!(kind(&failure), io::ErrorKind::ConnectionRefused);
    assert!(failure.to_string().contains("nobody/here"), "{failure}");
    let both = [watch(there.recv()), watch(there.recv())];
    world.settle();
    assert_eq!(both.map(|one| one.ok()), ["before", "after"]);
}

#[test]
fn a_connected_socket_has_one_other_end() {
    let mut world = World::new();
    let (socket, peer) = sockets(&world);
    let stranger = world.manual.datagrams(ANY).unwrap();
    let unconnected = watch(socket.send("x"));
    world.settle();
    assert_eq!(kind(&unconnected.err()), io::ErrorKind::NotConnected);
    assert!(socket.peer_addr().is_err());
    socket.connect(peer.local_addr()).unwrap();
    assert_eq!(socket.peer_addr().unwrap(), peer.local_addr());
    let to = socket.local_addr().unwrap();
    send(&stranger, "spam", to);
    send(&peer, "hello", to);
    let (received, sent) = (watch(socket.recv()), watch(socket.send("hi")));
    world.settle();
    sent.ok();
    assert_eq!(received.ok(), "hello");
    assert_eq!(peer.receive().unwrap().0, "hi");
}

/// Whether the address is free again.
fn is_closed(world: &World, addr: SocketAddr) -> bool {
    world.manual.datagrams(addr).is_ok()
}

#[test]
fn a_receive_keeps_its_socket_and_nothing_else_does() {
    let mut world = World::new();
    let (socket, peer) = sockets(&world);
    let addr = socket.local_addr().unwrap();
    let (first, second) = (watch(socket.recv()), watch(socket.recv()));
    drop(socket);
    world.settle();
    for (text, receive) in [("one", first), ("two", second)] {
        assert!(!is_closed(&world, addr));
        send(&peer, text, addr);
        world.settle();
        assert_eq!(receive.ok(), text);
    }
    world.settle();
    assert!(is_closed(&world, addr));
}

#[test]
fn a_socket_that_was_let_go_closes_when_the_last_receive_has_quit() {
    let leave: fn(Deferred<Bytes>) = |receive| drop(receive);
    let cancel: fn(Deferred<Bytes>) = |receive| {
        receive.cancel();
        assert!(watch(receive).is_cancelled());
    };
    for (before, how) in [(false, leave), (true, leave), (false, cancel), (true, cancel)] {
        let mut world = World::new();
        let (socket, _peer) = sockets(&world);
        let addr = socket.local_addr().unwrap();
        let receives = [socket.recv(), socket.recv()];
        world.settle();
        if before {
            receives.into_iter().for_each(how);
            drop(socket);
        } else {
            drop(socket);
            for receive in receives {
                world.settle();
                assert!(!is_closed(&world, addr));
                how(receive);
            }
        }
        world.settle();
        assert!(is_closed(&world, addr), "quit before the socket: {before}");
    }
}

#[test]
fn the_reactor_s_end_ends_everybody_and_what_comes_later_fails() {
    let reported = thence_core::unhandled();
    let mut reactor = Reactor::builder().driver(Manual::new()).build().unwrap();
    let (here, there) = UnixDatagram::pair().unwrap();
    (0..1000).for_each(|_| drop(here.send("filler")));
    let (receive, send) = (watch(here.recv()), watch(here.send("x")));
    reactor.turn(Some(ms(0))).unwrap();
    drop(reactor);
    assert!(receive.is_cancelled() && send.is_cancelled());
    let late = [watch(here.recv()), watch(here.recv()), watch(there.recv())];
    for receive in late {
        assert!(format!("{:?}", receive.err()).contains("reactor"));
    }
    assert!(format!("{:?}", watch(there.send("x")).err()).contains("reactor"));
    assert_eq!(thence_core::unhandled(), reported);
}

#[test]
fn a_datagram_that_waits_for_room_holds_a_run_open() {
    let mut world = World::with(|builder| builder.drain(ms(500)));
    let begun = world.manual.now();
    let peer = world.manual.datagrams(UnixAddr::Path("peer".into())).unwrap();
    while peer.send_to("filler", peer.local_address()).unwrap() {}
    let send = async |text| {
        let socket = UnixDatagram::unbound()?;
        drop(socket.send_to(text, Path::new("peer")));
        Ok(())
    };
    world.reactor.run(send("cut")).unwrap();
    assert_eq!(world.manual.now() - begun, ms(500), "until the drain's deadline");
    while peer.receive().is_some() {}
    world.reactor.run(send("in time")).unwrap();
    assert!(world.manual.now() - begun < ms(600));
    assert_eq!(peer.receive().unwrap().0, "in time");
    assert_eq!(peer.receive(), None);
}

/// The same on sockets of the operating system, and what only it does.
mod ready {
    use super::*;

    #[test]
    fn datagrams_go_both_ways() {
        thence_reactor::test(async {
            let (one, two) = (UdpSocket::bind(ANY)?, UdpSocket::bind(ANY)?);
            let (here, there) = (one.local_addr()?, two.local_addr()?);
            for text in ["a", "", "c"] {
                one.send_to(text, there).await?;
            }
            for text in ["a", "", "c"] {
                assert_eq!(two.recv_from().await?, (text.into(), here));
            }
            two.connect(here)?;
            assert_eq!(two.peer_addr()?, here);
            two.send("back").await?;
            assert_eq!(one.recv_from().await?, ("back".into(), there));
            Ok(())
        });
    }

    #[test]
    fn a_receive_that_left_loses_nothing() {
        thence_reactor::test(async {
            let (one, two) = (UdpSocket::bind(ANY)?, UdpSocket::bind(ANY)?);
            let left = two.recv_from();
            one.send_to("x", two.local_addr()?).await?;
            one.send_to("y", two.local_addr()?).await?;
            while !left.is_ready() {
                sleep(ms(1)).await;
            }
            drop(left);
            assert_eq!([two.recv().await?, two.recv().await?], ["x", "y"]);
            Ok(())
        });
    }

    #[test]
    fn refused_is_an_error_of_a_receive_and_no_end() {
        thence_reactor::test(async {
            // Where no other test binds, so that the port stays free.
            let gone = UdpSocket::bind("127.0.0.3:0")?.local_addr()?;
            // It is closed once the port is free.
            while std::net::UdpSocket::bind(gone).is_err() {
                sleep(ms(1)).await;
            }
            let socket = UdpSocket::bind(ANY)?;
            socket.connect(gone)?;
            let refused = socket.recv();
            socket.send("anybody?").await?;
            let failure = refused.await.unwrap_err();
            assert_eq!(kind(&failure), io::ErrorKind::ConnectionRefused);
            let peer = UdpSocket::bind(gone)?;
            peer.send_to("yes", socket.local_addr()?).await?;
            assert_eq!(socket.recv().await?, "yes");
            Ok(())
        });
    }

    #[test]
    fn a_datagram_that_is_too_long_fails_its_own_send() {
        thence_reactor::test(async {
            let (one, two) = (UdpSocket::bind(ANY)?, UdpSocket::bind(ANY)?);
            let to = two.local_addr()?;
            let most = Bytes::from(vec![b'x'; 65_507]);
            let (long, fits) = (one.send_to(vec![0; 65_508], to), one.send_to(most.clone(), to));
            let failure = long.await.unwrap_err();
            assert!(failure.to_string().contains(&to.to_string()), "{failure}");
            fits.await?;
            assert_eq!(two.recv().await?, most);
            Ok(())
        });
    }

    #[test]
    fn a_datagram_longer_than_a_receive_takes_is_told_and_no_end() {
        thence_reactor::test(async {
            let (one, two) = UnixDatagram::pair()?;
            let most = Bytes::from(vec![b'x'; 65_535]);
            for bytes in [vec![0; 65_536].into(), most.clone()] {
                one.send(bytes).await?;
            }
            let failure = two.recv().await.unwrap_err();
            assert_eq!(kind(&failure), io::ErrorKind::InvalidData);
            assert_eq!(two.recv().await?, most);
            Ok(())
        });
    }

    #[test]
    fn a_unix_send_waits_for_room() {
        thence_reactor::test(async {
            let (one, two) = UnixDatagram::pair()?;
            let sender = flow(async move {
                for n in 0..1000_u32 {
                    one.send(n.to_string()).await?;
                }
                Ok(())
            });
            // Real time for what must not happen.
            sleep(ms(5)).await;
            assert!(!sender.is_ready(), "there is no room for a thousand");
            for n in 0..1000_u32 {
                assert_eq!(two.recv().await?, n.to_string());
            }
            sender.await
        });
    }

    /// A socket at a path that others keep full, and how many datagrams wait there.
    fn full(name: &str) -> io::Result<(UnixDatagram, PathBuf, usize)> {
        let path = std::env::temp_dir().join(format!("thence-{name}-{}", std::process::id()));
        let server = UnixDatagram::bind(path.as_path())?;
        let others = std::os::unix::net::UnixDatagram::unbound()?;
        others.set_nonblocking(true)?;
        let fillers = (0..).take_while(|_| others.send_to(b"filler", &path).is_ok()).count();
        Ok((server, path, fillers))
    }

    #[test]
    fn a_send_to_somebody_whom_others_keep_full_ends_when_there_is_room() {
        thence_reactor::test(async {
            let (server, path, fillers) = full("room")?;
            let client = UnixDatagram::unbound()?;
            let one = client.send_to("one", path.as_path());
            let never = client.send_to("never", path.as_path());
            let two = client.send_to("two", path.as_path());
            drop(client.send_to("left", path.as_path()));
            drop(client);
            // Real time for what must not happen.
            sleep(ms(5)).await;
            assert!(!one.is_ready());
            never.cancel();
            for _ in 0..fillers {
                assert_eq!(server.recv().await?, "filler");
            }
            for text in ["one", "two", "left"] {
                assert_eq!(server.recv().await?, text);
            }
            one.await?;
            two.await?;
            assert!(never.settled().await.is_cancelled());
            Ok(())
        });
    }

    #[test]
    fn a_send_that_waits_for_room_leaves_the_loop_asleep() {
        let reported = thence_core::unhandled();
        let mut reactor = Reactor::builder().signals(false).build().unwrap();
        let (server, path, _) = full("asleep").unwrap();
        let client = UnixDatagram::unbound().unwrap();
        let send = watch(client.send_to("one", path.as_path()));
        for _ in 0..5 {
            reactor.turn(Some(ms(0))).unwrap();
        }
        assert!(!send.has_ended());
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        let fd = reactor.as_fd().unwrap();
        let mut fds = [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)];
        let ready = rustix::event::poll(&mut fds, Some(&now)).unwrap();
        assert_eq!(ready, 0, "the operating system has something to say");
        drop(reactor);
        assert!(send.is_cancelled());
        let late = watch(client.send_to("late", path.as_path())).err();
        assert!(format!("{late:?}").contains("reactor"));
        drop(server);
        assert_eq!(thence_core::unhandled(), reported);
    }

    #[test]
    fn a_path_is_bound_connected_and_removed() {
        thence_reactor::test(async {
            let folder = std::env::temp_dir().join(format!("thence-dgram-{}", std::process::id()));
            std::fs::create_dir_all(&folder)?;
            let (a, b) = (folder.join("a"), folder.join("b"));
            let (one, two) = (UnixDatagram::bind(a.as_path())?, UnixDatagram::bind(b.as_path())?);
            let taken = UnixDatagram::bind(a.as_path()).unwrap_err();
            assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
            assert!(taken.to_string().contains(&a.display().to_string()), "{taken}");
            one.connect(b.as_path())?;
            assert_eq!(one.peer_addr()?, UnixAddr::Path(b.clone()));
            one.send("x").await?;
            assert_eq!(two.recv_from().await?, ("x".into(), UnixAddr::Path(a.clone())));
            drop((one, two));
            assert!(!a.exists() && !b.exists());
            assert!(UnixDatagram::unbound()?.connect(a.as_path()).is_err());
            let nobody = UnixDatagram::unbound()?.send_to("x", a.as_path()).await.unwrap_err();
            assert_eq!(kind(&nobody), io::ErrorKind::NotFound);
            assert!(nobody.to_string().contains(&a.display().to_string()), "{nobody}");
            std::fs::remove_dir(&folder)?;
            Ok(())
        });
    }

    #[test]
    fn options_reach_the_socket() {
        thence_reactor::test(async {
            use rustix::net::sockopt;
            let socket = UdpSocket::bind(ANY)?;
            socket.set_broadcast(true)?;
            socket.set_ttl(7)?;
            socket.set_multicast_ttl_v4(3)?;
            socket.set_multicast_loop_v4(false)?;
            let fd = socket.as_fd().expect("a descriptor");
            assert!(sockopt::socket_broadcast(fd)?);
            assert_eq!((sockopt::ip_ttl(fd)?, sockopt::ip_multicast_ttl(fd)?), (7, 3));
            assert!(!sockopt::ip_multicast_loop(fd)?);
            let (group, here) = ("239.1.2.3".parse()?, std::net::Ipv4Addr::LOCALHOST);
            socket.join_multicast_v4(group, here)?;
            socket.leave_multicast_v4(group, here)?;
            assert!(socket.leave_multicast_v4(group, here).is_err());
            Ok(())
        });
    }
}
