//! TCP on the manual driver: who leaves or cancels where, and what the next one sees.

use std::{
    io::{self, IoSlice},
    task::{Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use thence_core::{Deferred, Failure, flow};
use thence_reactor::{
    DeferredExt, Elapsed, Reactor,
    driver::manual::Manual,
    net::{Keepalive, TcpListener, TcpStream},
    run,
};

use crate::common::{ANY, Log, World, ms, watch};

fn kind(failure: &Failure) -> io::ErrorKind {
    failure.downcast_ref::<io::Error>().map(io::Error::kind).expect("an I/O error")
}

#[test]
fn reads_end_in_the_order_they_were_asked_for() {
    let mut world = World::new();
    let (stream, peer) = world.connection();
    let reads = [watch(stream.read(2)), watch(stream.read_exact(3)), watch(stream.read(100))];
    peer.send("abcd");
    world.settle();
    assert_eq!(reads[0].ok(), "ab");
    assert!(!reads[1].has_ended());
    peer.send("efg");
    world.settle();
    assert_eq!(reads[1].ok(), "cde");
    assert_eq!(reads[2].ok(), "fg");
}

#[test]
fn the_end_is_empty_and_stays_empty() {
    let mut world = World::new();
    let (stream, peer) = world.connection();
    peer.send("bye");
    peer.finish();
    let reads = [watch(stream.read(100)), watch(stream.read(100)), watch(stream.read(100))];
    world.settle();
    assert_eq!(reads.map(|read| read.ok()), ["bye", "", ""]);
}

#[test]
fn too_few_for_read_exact_stay_for_other_reads() {
    let mut world = World::new();
    let (stream, peer) = world.connection();
    let exact = watch(stream.read_exact(10));
    peer.send("abc");
    world.settle();
    assert!(!exact.has_ended());
    peer.finish();
    world.settle();
    assert_eq!(kind(&exact.err()), io::ErrorKind::UnexpectedEof);
    let rest = watch(stream.read(10));
    world.settle();
    assert_eq!(rest.ok(), "abc");
}

#[test]
fn a_reset_fails_everybody() {
    let mut world = World::new();
    let (stream, peer) = world.connection();
    let waiting = watch(stream.read(1));
    world.settle();
    peer.reset();
    world.settle();
    assert_eq!(kind(&waiting.err()), io::ErrorKind::ConnectionReset);
    let later = [watch(stream.read(1)), watch(stream.read_exact(1))];
    let write = watch(stream.write("x"));
    world.settle();
    for read in later {
        assert_eq!(kind(&read.err()), io::ErrorKind::ConnectionReset);
    }
    assert_eq!(kind(&write.err()), io::ErrorKind::BrokenPipe);
}

/// Leaves, or cancels and leaves, a read after so many turns; then another reads all.
fn quit_a_read(turns_before: usize, send_before: bool, how: fn(Deferred<Bytes>)) {
    let mut world = World::new();
    let (stream, peer) = world.connection();
    peer.send("one ");
    if send_before {
        world.settle();
    }
    let first = stream.read(100);
    for _ in 0..turns_before {
        world.reactor.turn(Some(ms(0))).unwrap();
    }
    how(first);
    peer.send("two");
    world.settle();
    let all = watch(stream.read_exact(7));
    world.settle();
    assert_eq!(all.ok(), "one two", "{turns_before} turns, sent before: {send_before}");
}

#[test]
fn a_read_that_quits_at_any_point_loses_nothing() {
    let leave: fn(Deferred<Bytes>) = |read| drop(read);
    let cancel: fn(Deferred<Bytes>) = |read| {
        read.cancel();
        drop(read);
    };
    let cancel_and_look: fn(Deferred<Bytes>) = |read| {
        let canceller = read.canceller();
        drop(read);
        canceller.cancel();
    };
    for how in [leave, cancel, cancel_and_look] {
        for turns in 0..4 {
            for send_before in [false, true] {
                quit_a_read(turns, send_before, how);
            }
        }
    }
}

#[test]
fn bytes_that_come_back_go_to_whoever_waits_already() {
    let mut world = World::new();
    let (stream, peer) = world.connection();
    let (first, second) = (stream.read(4), stream.read(4));
    let third = watch(stream.read(100));
    drop(first);
    peer.send("abcd");
    world.settle();
    // The second has its bytes by now; nobody has looked at them.
    assert!(second.is_ready() && !third.has_ended());
    drop(second);
    world.settle();
    assert_eq!(third.ok(), "abcd");
}

#[test]
fn whoever_leaves_first_bytes_come_back_in_the_stream_s_order() {
    for swapped in [false, true] {
        let mut world = World::new();
        let (stream, peer) = world.connection();
        peer.send("abcdef");
        let mut reads = [stream.read(2), stream.read(2), stream.read(1)];
        world.settle();
        assert!(reads.iter().all(Deferred::is_ready));
        if swapped {
            reads.reverse();
        }
        drop(reads);
        let all = watch(stream.read_exact(6));
        world.settle();
        assert_eq!(all.ok(), "abcdef");
    }
}

#[test]
fn a_cancelled_read_ends_cancelled_and_the_others_go_on() {
    let mut world = World::new();
    let (stream, peer) = world.connection();
    let first = stream.read(10);
    let canceller = first.canceller();
    let (first, second) = (watch(first), watch(stream.read(10)));
    world.settle();
    canceller.cancel();
    world.settle();
    assert!(first.is_cancelled());
    peer.send("x");
    world.settle();
    assert_eq!(second.ok(), "x");
}

#[test]
fn a_timeout_on_a_read_keeps_what_comes_late() {
    let mut world = World::new();
    let (stream, peer) = world.connection();
    let limited = watch(stream.read(10).timeout(ms(5)));
    world.pass(ms(5));
    assert!(limited.err().is::<Elapsed>());
    peer.send("late");
    world.settle();
    let next = watch(stream.read(10).timeout(ms(5)));
    world.settle();
    assert_eq!(next.ok(), "late");
    // In the very turn in which both happen.
    let racing = stream.read(10).timeout(ms(5));
    peer.send("race");
    world.manual.advance(ms(5));
    world.settle();
    let racing = watch(racing);
    world.settle();
    assert_eq!(racing.ok(), "race");
}

#[test]
fn a_read_keeps_its_connection_and_nothing_else_does() {
    let mut world = World::new();
    let (stream, peer) = world.connection();
    let waiting = watch(stream.read(10));
    drop(stream);
    world.settle();
    assert!(!peer.is_at_end());
    peer.send("x");
    world.settle();
    assert_eq!(waiting.ok(), "x");
    world.settle();
    assert!(peer.is_at_end());
}

#[test]
fn a_read_that_is_left_after_its_stream_closes_the_connection() {
    let mut world = World::new();
    let (stream, peer) = world.connection();
    let reads = [stream.read(10), stream.read(10)];
    drop(stream);
    world.settle();
    for read in reads {
        assert!(!peer.is_at_end());
        drop(read);
        world.settle();
    }
    assert!(peer.is_at_end());
}

#[test]
fn a_write_that_is_stuck_and_was_cancelled_does_not_keep_the_connection() {
    let mut world = World::new();
    world.manual.set_capacity(4);
    let (stream, peer) = world.connection();
    let write = stream.write("abcdefgh");
    world.settle();
    write.cancel();
    drop(write);
    drop(stream);
    world.settle();
    assert_eq!(peer.received(), b"abcd");
    assert!(peer.is_at_end());
}

#[test]
fn a_connection_that_was_let_go_closes() {
    let mut world = World::new();
    let (stream, peer) = world.connection();
    drop(stream.read(10));
    world.settle();
    drop(stream);
    world.settle();
    assert!(peer.is_at_end());
}

#[test]
fn writes_go_out_together_and_in_order() {
    let mut world = World::new();
    let (stream, peer) = world.connection();
    let writes: Vec<_> = ["a", "", "bc", "d"].map(|text| watch(stream.write(text))).into();
    assert!(peer.received().is_empty(), "not before the turn's end");
    world.settle();
    assert_eq!(peer.received(), b"abcd");
    writes.iter().for_each(|write| write.ok());
}

#[test]
fn a_write_ends_when_the_other_side_makes_room() {
    let mut world = World::new();
    world.manual.set_capacity(4);
    let (stream, peer) = world.connection();
    let (first, second) = (watch(stream.write("abcdef")), watch(stream.write("gh")));
    world.settle();
    assert!(!first.has_ended());
    assert_eq!(peer.received(), b"abcd");
    world.settle();
    assert_eq!(peer.received(), b"efgh");
    world.settle();
    first.ok();
    second.ok();
}

#[test]
fn a_write_cancelled_before_it_began_is_not_sent() {
    let mut world = World::new();
    world.manual.set_capacity(4);
    let (stream, peer) = world.connection();
    let first = stream.write("abcdef");
    let first_canceller = first.canceller();
    let first = watch(first);
    world.settle();
    let second = stream.write("never");
    let second_canceller = second.canceller();
    let second = watch(second);
    let third = watch(stream.write("gh"));
    // The first is half out: it goes on.
    first_canceller.cancel();
    second_canceller.cancel();
    assert!(second.is_cancelled());
    world.settle();
    assert_eq!(peer.received(), b"abcd");
    world.settle();
    assert_eq!(peer.received(), b"efgh");
    world.settle();
    assert!(first.is_cancelled());
    third.ok();
}

#[test]
fn a_write_that_was_left_goes_on() {
    let mut world = World::new();
    world.manual.set_capacity(4);
    let (stream, peer) = world.connection();
    drop(stream.write("abcdefgh"));
    drop(stream);
    world.settle();
    assert_eq!(peer.received(), b"abcd");
    world.settle();
    assert_eq!(peer.received(), b"efgh");
    world.settle();
    assert!(peer.is_at_end());
}

#[test]
fn unsent_bytes_hold_a_run_open() {
    let manual = Manual::new();
    let mut reactor = Reactor::builder().driver(manual.clone()).build().unwrap();
    manual.set_capacity(4);
    let begun = manual.now();
    let log = Log::new();
    let seen = log.clone();
    reactor
        .run(async move {
            let listener = TcpListener::bind(ANY)?;
            let peer = manual.connect(listener.local_addr())?;
            let (stream, _) = listener.accept().await?;
            drop(stream.write("abcdefgh"));
            let hand = manual.clone();
            thence_reactor::every(ms(100), move || {
                seen.push(((hand.now() - begun).as_millis(), peer.received()));
                Ok::<(), Failure>(())
            });
            // A beat ends with the drain, so main stays for two of them.
            thence_reactor::after(ms(250)).await;
            Ok(())
        })
        .unwrap();
    assert_eq!(log.all(), [(100, b"abcd".to_vec()), (200, b"efgh".to_vec())]);
}

#[test]
fn what_cannot_be_sent_is_cut_at_the_drain_deadline() {
    let mut world = World::with(|builder| builder.drain(ms(500)));
    let manual = world.manual.clone();
    manual.set_capacity(4);
    let begun = manual.now();
    let kept = world
        .reactor
        .run(async move {
            let listener = TcpListener::bind(ANY)?;
            let peer = manual.connect(listener.local_addr())?;
            let (stream, _) = listener.accept().await?;
            drop(stream.write("abcdefgh"));
            Ok(peer)
        })
        .unwrap();
    assert_eq!(world.manual.now() - begun, ms(500));
    drop(kept);
}

#[test]
fn shutdown_comes_after_the_writes_and_reading_goes_on() {
    let mut world = World::new();
    world.manual.set_capacity(2);
    let (stream, peer) = world.connection();
    let write = watch(stream.write("abcd"));
    let shut = watch(stream.shutdown());
    let refused = watch(stream.write("more"));
    world.settle();
    assert_eq!(kind(&refused.err()), io::ErrorKind::BrokenPipe);
    assert!(!peer.is_at_end());
    assert_eq!(peer.received(), b"ab");
    world.settle();
    assert_eq!(peer.received(), b"cd");
    world.settle();
    write.ok();
    shut.ok();
    assert!(peer.is_at_end());
    peer.send("y");
    let read = watch(stream.read(10));
    world.settle();
    assert_eq!(read.ok(), "y");
    let again = watch(stream.shutdown());
    world.settle();
    again.ok();
}

#[test]
fn abort_fails_whoever_waits() {
    let mut world = World::new();
    world.manual.set_capacity(4);
    let (stream, peer) = world.connection();
    let writes = [watch(stream.write("abcdef")), watch(stream.write("gh"))];
    let read = watch(stream.read(1));
    world.settle();
    stream.abort();
    world.settle();
    for write in writes {
        assert_eq!(kind(&write.err()), io::ErrorKind::ConnectionAborted);
    }
    assert!(read.has_ended());
    drop(stream);
    world.settle();
    assert_eq!(peer.received(), b"abcd");
    assert!(peer.is_at_end());
}

#[test]
fn connects_or_says_where_it_could_not() {
    let mut world = World::new();
    let elsewhere = world.manual.listen(ANY).unwrap();
    let made = watch(TcpStream::connect(elsewhere.local_addr()));
    world.settle();
    let stream = made.ok();
    let peer = elsewhere.accept().unwrap();
    assert_eq!(stream.peer_addr().unwrap(), elsewhere.local_addr());
    let write = watch(stream.write("hi"));
    world.settle();
    write.ok();
    assert_eq!(peer.received(), b"hi");

    let addr = elsewhere.local_addr();
    drop(elsewhere);
    let refused = watch(TcpStream::connect(addr));
    world.settle();
    let failure = refused.err();
    assert_eq!(kind(&failure), io::ErrorKind::ConnectionRefused);
    assert!(format!("{failure:#}").contains(&addr.to_string()));
}

#[test]
fn a_connect_that_quits_closes_what_was_made() {
    let mut world = World::new();
    let elsewhere = world.manual.listen(ANY).unwrap();
    // Before: nothing is made.
    let connecting = TcpStream::connect(elsewhere.local_addr());
    let canceller = connecting.canceller();
    let connecting = watch(connecting);
    canceller.cancel();
    world.settle();
    assert!(connecting.is_cancelled());
    assert!(elsewhere.accept().is_none());
    // After: it closes, whether it was left before or after it was there.
    for turns in 0..3 {
        let connecting = TcpStream::connect(elsewhere.local_addr());
        for _ in 0..turns {
            world.reactor.turn(Some(ms(0))).unwrap();
        }
        drop(connecting);
        world.settle();
        assert!(elsewhere.accept().unwrap().is_at_end());
    }
}

#[test]
fn an_accept_that_quits_at_any_point_gives_its_socket_to_the_next() {
    for cancels in [false, true] {
        for turns in 0..4 {
            let mut world = World::new();
            let listener = TcpListener::bind(ANY).unwrap();
            let first = listener.accept();
            let peers = [0; 2].map(|_| world.manual.connect(listener.local_addr()).unwrap());
            for _ in 0..turns {
                world.reactor.turn(Some(ms(0))).unwrap();
            }
            if cancels {
                first.cancel();
            }
            drop(first);
            world.settle();
            let accepts = [watch(listener.accept()), watch(listener.accept())];
            world.settle();
            for (peer, accept) in peers.iter().zip(accepts) {
                assert_eq!(accept.ok().1, peer.local_addr(), "in the order they came");
            }
        }
    }
}

#[test]
fn a_closed_listener_ends_whoever_waits_and_resets_the_queue() {
    let mut world = World::new();
    let listener = TcpListener::bind(ANY).unwrap();
    let waiting = watch(listener.accept());
    world.settle();
    listener.close();
    world.settle();
    assert!(waiting.is_cancelled());
    let later = watch(listener.accept());
    assert!(later.is_cancelled());
    assert!(world.manual.connect(listener.local_addr()).is_err());
}

#[test]
fn a_listener_that_was_let_go_closes_when_nobody_waits() {
    let mut world = World::new();
    let listener = TcpListener::bind(ANY).unwrap();
    let addr = listener.local_addr();
    let (waiting, left) = (listener.accept(), listener.accept());
    drop(left);
    drop(listener);
    world.settle();
    let _peer = world.manual.connect(addr).unwrap();
    world.settle();
    assert!(waiting.is_ready());
    world.settle();
    assert!(world.manual.connect(addr).is_err());

    let listener = TcpListener::bind(ANY).unwrap();
    let addr = listener.local_addr();
    let later_left = listener.accept();
    drop(listener);
    world.settle();
    drop(later_left);
    world.settle();
    assert!(world.manual.connect(addr).is_err());
}

#[test]
fn draining_takes_in_who_is_at_the_door_and_closes() {
    let mut world = World::new();
    let manual = world.manual.clone();
    let log = Log::new();
    let seen = log.clone();
    let peers = world
        .reactor
        .run(async move {
            let listener = TcpListener::bind(ANY)?;
            let addr = listener.local_addr();
            let peers: Vec<_> = (0..5).map(|_| manual.connect(addr)).collect::<Result<_, _>>()?;
            flow::<()>(async move {
                loop {
                    let (stream, _) = listener.accept().await?;
                    seen.push("accepted");
                    flow(async move { stream.write("served").await }).report();
                }
            })
            .report();
            Ok(peers)
        })
        .unwrap();
    assert_eq!(log.all().len(), 5);
    for peer in peers {
        assert_eq!(peer.received(), b"served");
        assert!(!peer.is_reset());
    }
}

#[test]
fn a_port_in_use_says_which() {
    let _world = World::new();
    let listener = TcpListener::bind(ANY).unwrap();
    let error = TcpListener::bind(listener.local_addr()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&listener.local_addr().to_string()));
}

#[test]
fn what_polls_reads_and_writes_with_back_pressure() {
    let mut world = World::new();
    let (stream, peer) = world.connection();
    let log = Log::new();
    let seen = log.clone();
    let polled = watch(flow(async move {
        let mut got = Vec::new();
        loop {
            let n = std::future::poll_fn(|cx| {
                stream.poll_read(cx, &mut |bytes| {
                    let taken = bytes.len().min(3);
                    got.extend_from_slice(&bytes[..taken]);
                    taken
                })
            })
            .await?;
            if n == 0 {
                break;
            }
        }
        seen.push(String::from_utf8(got).unwrap());
        let much = vec![7; 200_000];
        let mut sent = 0;
        while sent < much.len() {
            let slices = [IoSlice::new(&much[sent..]), IoSlice::new(&[])];
            sent += std::future::poll_fn(|cx| stream.poll_write_vectored(cx, &slices)).await?;
        }
        std::future::poll_fn(|cx| stream.poll_flush(cx)).await?;
        std::future::poll_fn(|cx| stream.poll_shutdown(cx)).await?;
        Ok(sent)
    }));
    peer.send("hello ");
    world.settle();
    peer.send("world");
    peer.finish();
    world.settle();
    assert_eq!(log.all(), ["hello world"]);
    assert!(!polled.has_ended(), "nobody has read");
    let mut received = 0;
    while !peer.is_at_end() {
        let bytes = peer.received();
        assert!(bytes.iter().all(|byte| *byte == 7));
        received += bytes.len();
        world.settle();
    }
    assert_eq!(received, 200_000);
    assert_eq!(polled.ok(), 200_000);
}

#[test]
fn a_poll_that_is_not_repeated_keeps_its_bytes_for_reads() {
    let mut world = World::new();
    let (stream, peer) = world.connection();
    let mut cx = std::task::Context::from_waker(Waker::noop());
    assert!(stream.poll_read(&mut cx, &mut |_| 0).is_pending());
    peer.send("abc");
    world.settle();
    assert!(matches!(stream.poll_read(&mut cx, &mut |_| 1), Poll::Ready(Ok(1))));
    let read = watch(stream.read(10));
    world.settle();
    assert_eq!(read.ok(), "bc");
}

#[test]
fn what_outlives_its_reactor_fails() {
    let mut world = World::new();
    let (stream, _peer) = world.connection();
    let waiting = watch(stream.read(1));
    world.settle();
    drop(world);
    assert!(waiting.is_cancelled());
    let read = watch(stream.read(1));
    assert!(read.err().to_string().contains("has ended"));
}

#[test]
fn what_is_first_written_after_its_reactor_ends_all_the_same() {
    let before = thence_core::hosting::live();
    let mut world = World::new();
    let kept: Vec<_> = (0..3).map(|_| world.connection()).collect();
    drop(world);
    let written = watch(kept[0].0.write("late"));
    assert!(written.is_cancelled());
    let again = watch(kept[0].0.write("late"));
    assert!(again.err().to_string().contains("has ended"));
    for (stream, _) in &kept {
        assert!(watch(stream.shutdown()).has_ended());
    }
    drop((kept, written, again));
    assert_eq!(thence_core::hosting::live(), before);
}

#[test]
fn a_connection_asks_whether_its_peer_is_there_as_it_is_told() {
    use rustix::net::sockopt::{
        socket_keepalive, tcp_keepcnt, tcp_keepidle, tcp_keepintvl, tcp_user_timeout,
    };
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let os = std::net::TcpStream::connect(listener.local_addr())?;
        let stream = TcpStream::from_std(os.try_clone()?)?;
        stream.set_keepalive(Some(Keepalive::default()))?;
        assert!(socket_keepalive(&os)?);
        let seconds = (tcp_keepidle(&os)?.as_secs(), tcp_keepintvl(&os)?.as_secs());
        assert_eq!((seconds, tcp_keepcnt(&os)?), ((60, 10), 3));
        let mut quick = Keepalive::default();
        (quick.idle, quick.interval, quick.probes) = (Duration::ZERO, Duration::ZERO, 0);
        stream.set_keepalive(Some(quick))?;
        let seconds = (tcp_keepidle(&os)?.as_secs(), tcp_keepintvl(&os)?.as_secs());
        assert_eq!((seconds, tcp_keepcnt(&os)?), ((1, 1), 1));
        stream.set_keepalive(None)?;
        assert!(!socket_keepalive(&os)?);
        for (timeout, millis) in [
            (Some(Duration::from_secs(60)), 60_000),
            (Some(Duration::ZERO), 1),
            (Some(Duration::MAX), i32::MAX.unsigned_abs()),
            (None, 0),
        ] {
            stream.set_user_timeout(timeout)?;
            assert_eq!(tcp_user_timeout(&os)?, millis);
        }
        Ok(())
    })
    .unwrap();
    // In a test's network nobody loses power.
    let mut world = World::new();
    let (stream, _peer) = world.connection();
    stream.set_keepalive(Some(Keepalive::default())).unwrap();
    stream.set_user_timeout(Some(Duration::from_secs(1))).unwrap();
}
