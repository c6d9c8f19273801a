//! What readiness makes hard: edges do not come twice, and bounds stop a source that has more.

use std::{fs::File, io::Write, net::Shutdown, os::fd::OwnedFd, time::Duration};

use rustix::event::{EventfdFlags, eventfd};
use thence_reactor::driver::{
    ACCEPTS_PER_TURN, COMPLETIONS_PER_TURN, Done, Interest, Key, Op, Socket, SocketKind,
};

use crate::{
    bench::{self, Bench, pattern},
    count::counted,
    drivers::OnReady,
    sockets::{Listens, Pair, Pipe, Streams, Tcp, Unix, connected},
};

on_every_driver! { bench:
    a_bound_stops_a_source_and_the_next_turn_goes_on,
    a_poll_is_ready_as_often_as_it_is_asked,
    a_side_that_fills_again_is_written_to_again,
    bytes_that_came_with_one_edge_are_there_for_many_receives,
    nothing_there_takes_a_source_off_and_new_bytes_put_it_back,
    the_end_that_came_with_the_last_bytes_is_said,
    what_nobody_asked_for_keeps_no_turn_busy,
}

fn bytes_that_came_with_one_edge_are_there_for_many_receives(bench: &mut Bench) {
    for (ours, peer) in [Tcp::ends(bench), Unix::ends(bench), Pair::ends(bench)] {
        // It is registered from here on.
        bench.assert_silent(&ours);
        bench.sent(&peer, &pattern()[..100]);
        bench.settle();
        for n in 0..10 {
            assert_eq!(bench.received(&ours, 10), pattern()[n * 10..][..10]);
        }
        bench.assert_silent(&ours);
    }
}

fn nothing_there_takes_a_source_off_and_new_bytes_put_it_back(bench: &mut Bench) {
    let (ours, peer) = Tcp::ends(bench);
    for round in 0..20 {
        let waiting = bench.recv(&ours, 100);
        bench.assert_pending(waiting);
        assert!(!bench.driver().has_work(), "a source with nothing is not tried again");
        bench.sent(&peer, [round]);
        assert!(matches!(bench.end(waiting), Ok(Done::Received(bytes)) if bytes[..] == [round]));
    }
}

fn a_bound_stops_a_source_and_the_next_turn_goes_on(bench: &mut Bench) {
    let (listener, addr) = Tcp::listen(bench);
    let first = bench.accept(&listener);
    bench.assert_pending(first);
    let _clients: Vec<Socket> = (0..ACCEPTS_PER_TURN * 3).map(|_| bench.connect(&addr)).collect();
    bench.done(first);
    // All of them came with edges that have been: only the driver's own list brings the rest.
    let accepts: Vec<Key> = (1..ACCEPTS_PER_TURN * 3).map(|_| bench.accept(&listener)).collect();
    while bench.unseen() < accepts.len() {
        let before = bench.unseen();
        bench.turn(Duration::ZERO);
        assert!(bench.unseen() > before, "it went to sleep on {before}");
        assert!(bench.unseen() == accepts.len() || bench.driver().has_work());
    }
    for key in accepts {
        bench.done(key);
    }
}

fn the_end_that_came_with_the_last_bytes_is_said(bench: &mut Bench) {
    for (ours, peer) in [Tcp::ends(bench), Unix::ends(bench), Pair::ends(bench)] {
        bench.assert_silent(&ours);
        let waiting = bench.recv(&ours, 100);
        bench.sent(&peer, "last");
        peer.shutdown(Shutdown::Write).unwrap();
        assert!(matches!(bench.end(waiting), Ok(Done::Received(bytes)) if bytes == "last"));
        assert_eq!(bench.received(&ours, 100), "");
    }
}

fn a_side_that_fills_again_is_written_to_again(bench: &mut Bench) {
    let (ours, peer) = Tcp::ends(bench);
    for _ in 0..5 {
        let filled = bench.fill(&ours);
        let waiting = bench.send(&ours, "!");
        bench.assert_pending(waiting);
        let mut got = 0;
        while got < filled + 1 {
            got += bench.received(&peer, usize::MAX).len();
        }
        bench.done(waiting);
    }
}

fn a_poll_is_ready_as_often_as_it_is_asked(bench: &mut Bench) {
    let (ours, peer) = Tcp::ends(bench);
    let both = [poll(bench, &ours), poll(bench, &ours)];
    bench.assert_pending(both[0]);
    bench.sent(&peer, "x");
    for key in both {
        assert!(matches!(bench.end(key), Ok(Done::Ready)));
    }
    // No edge comes for what is there already, and it is asked again all the same.
    let again = poll(bench, &ours);
    assert!(matches!(bench.end(again), Ok(Done::Ready)));
    assert_eq!(bench.received(&ours, 10), "x");
    let none = poll(bench, &ours);
    bench.assert_pending(none);
    bench.take_back(none);
}

fn what_nobody_asked_for_keeps_no_turn_busy(bench: &mut Bench) {
    let (ours, peer) = connected::<Tcp>(bench);
    bench.assert_silent(&ours);
    bench.sent(&peer, "unasked");
    bench.settle();
    assert!(!bench.driver().has_work());
    assert_eq!(bench.received(&ours, 100), "unasked");
}

#[test]
fn a_regular_file_is_always_ready_and_is_not_registered() {
    bench::check::<OnReady>(|bench| {
        // epoll_ctl(2) says EPERM to it; its reads are not for this loop, and yet they end.
        let path = std::env::temp_dir().join(format!("thence-edges-{}", std::process::id()));
        File::create(&path).unwrap().write_all(b"a file").unwrap();
        let fd = OwnedFd::from(File::open(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        let file = bench.driver().adopt(fd, SocketKind::Pipe).unwrap();
        let ready = poll(bench, &file);
        assert!(matches!(bench.end(ready), Ok(Done::Ready)));
        assert_eq!(bench.received(&file, 100), "a file");
        assert_eq!(bench.received(&file, 100), "");
    });
}

#[test]
fn a_descriptor_that_can_only_be_polled_is_polled() {
    bench::check::<OnReady>(|bench| {
        let fd = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        let writer = fd.try_clone().unwrap();
        let event = bench.driver().adopt(fd, SocketKind::Other).unwrap();
        for _ in 0..3 {
            let waiting = poll(bench, &event);
            bench.assert_pending(waiting);
            rustix::io::write(&writer, &1_u64.to_ne_bytes()).unwrap();
            assert!(matches!(bench.end(waiting), Ok(Done::Ready)));
            rustix::io::read(event.as_fd().unwrap(), &mut [0; 8]).unwrap();
        }
    });
}

#[test]
fn a_pipe_says_its_end_with_its_last_bytes() {
    bench::check::<OnReady>(|bench| {
        let (reader, writer) = Pipe::ends(bench);
        bench.assert_silent(&reader);
        let waiting = bench.recv(&reader, 100);
        bench.sent(&writer, "last");
        drop(writer);
        assert!(matches!(bench.end(waiting), Ok(Done::Received(bytes)) if bytes == "last"));
        assert_eq!(bench.received(&reader, 100), "");
    });
}

#[test]
fn an_event_of_a_socket_that_is_gone_is_not_its_successor_s() {
    bench::check::<OnReady>(|bench| {
        let (gone, peer) = Tcp::ends(bench);
        bench.assert_silent(&gone);
        // Its event waits in the kernel, and a duplicate keeps it there.
        let kept = gone.as_fd().unwrap().try_clone_to_owned().unwrap();
        drop(gone);
        bench.settle();
        let (next, next_peer) = Tcp::ends(bench);
        bench.assert_silent(&next);
        let waiting = bench.recv(&next, 100);
        bench.sent(&peer, "for nobody");
        bench.assert_pending(waiting);
        bench.sent(&next_peer, "for it");
        assert!(matches!(bench.end(waiting), Ok(Done::Received(bytes)) if bytes == "for it"));
        for _ in 0..3 {
            bench.sent(&next_peer, "more");
            assert_eq!(bench.received(&next, 100), "more");
        }
        drop(kept);
    });
}

#[test]
fn a_writer_that_never_has_to_wait_leaves_the_turn_to_others() {
    bench::check::<OnReady>(|bench| {
        let (ours, peer) = Unix::ends(bench);
        // Each try sends a bounded number of times; with one byte a piece they are many tries.
        let pieces = (0..COMPLETIONS_PER_TURN * 8).map(|n| counted([n as u8])).collect();
        let key = bench.submit(Op::Send { socket: ours, buffers: pieces });
        let (other, other_peer) = Unix::ends(bench);
        bench.sent(&other_peer, "hello");
        assert_eq!(bench.received(&other, 100), "hello");
        let mut got = 0;
        while got < COMPLETIONS_PER_TURN * 8 {
            got += bench.received(&peer, usize::MAX).len();
        }
        bench.done(key);
    });
}

fn poll(bench: &mut Bench, socket: &Socket) -> Key {
    bench.submit(Op::Poll { socket: socket.clone(), interest: Interest::Read })
}
