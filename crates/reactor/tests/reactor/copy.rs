//! Copying between streams: who ends, breaks, leaves or cancels where.

use std::{io, rc::Rc};

use bytes::Bytes;
use thence_core::{Deferred, Failure, flow};
use thence_reactor::{
    Reactor,
    driver::manual::{Manual, Peer},
    net::{Copied, TcpListener, TcpStream, Transport, UnixStream, copy, copy_both},
};

use crate::common::{ANY, World, ms, watch};

/// Both connections of a proxy, and their other ends.
fn proxied(world: &mut World) -> [(Transport, Peer); 2] {
    [(); 2].map(|()| {
        let (stream, peer) = world.connection();
        (Transport::from(stream), peer)
    })
}

fn kind(failure: &Failure) -> io::ErrorKind {
    failure.downcast_ref::<io::Error>().map(io::Error::kind).expect("an I/O error")
}

#[test]
fn one_way_copies_to_the_end_and_does_not_shut_down() {
    let mut world = World::new();
    let [(from, source), (to, sink)] = proxied(&mut world);
    let copied = watch(copy(from, to.clone()));
    for text in ["ab", "cde"] {
        source.send(text);
        world.settle();
        assert_eq!(sink.received(), text.as_bytes());
    }
    source.finish();
    world.settle();
    assert_eq!(copied.ok(), 5);
    assert!(!sink.is_at_end());
    let more = watch(to.write("more"));
    world.settle();
    more.ok();
    assert_eq!(sink.received(), b"more");
}

#[test]
fn each_way_ends_by_itself_and_both_are_counted() {
    for a_first in [true, false] {
        let mut world = World::new();
        let [(a, left), (b, right)] = proxied(&mut world);
        let copied = watch(copy_both(a, b));
        left.send("abc");
        right.send("de");
        world.settle();
        assert_eq!((left.received(), right.received()), (b"de".to_vec(), b"abc".to_vec()));
        let (first, last) = if a_first { (&left, &right) } else { (&right, &left) };
        first.finish();
        world.settle();
        assert!(last.is_at_end() && !first.is_at_end() && !copied.has_ended());
        last.send("later");
        world.settle();
        assert_eq!(first.received(), b"later");
        last.finish();
        world.settle();
        assert!(first.is_at_end());
        let (there, back) = if a_first { (3, 7) } else { (8, 2) };
        assert_eq!(copied.ok(), Copied { a_to_b: there, b_to_a: back });
    }
}

#[test]
fn it_holds_a_bounded_amount() {
    let mut world = World::new();
    world.manual.set_capacity(4000);
    let [(a, left), (b, right)] = proxied(&mut world);
    let copied = watch(copy_both(a, b));
    let mut taken = 0;
    for _ in 0..1000 {
        taken += left.send([b'x'; 4000]);
        world.settle();
    }
    // On the way out, being written, read ahead, and on the way in.
    assert!(taken <= 4000 + 65_536 + 65_536 + 4000 + 4000, "{taken}");
    let mut arrived = 0;
    left.finish();
    while !right.is_at_end() {
        arrived += right.received().len();
        world.settle();
    }
    assert_eq!(arrived, taken);
    right.finish();
    world.settle();
    assert_eq!(copied.ok(), Copied { a_to_b: taken as u64, b_to_a: 0 });
}

#[test]
fn a_break_ends_both_ways_and_says_where() {
    for (broken, begin) in [(0, "cannot read from a"), (1, "cannot read from b")] {
        let mut world = World::new();
        let [(a, left), (b, right)] = proxied(&mut world);
        let kept = [a.clone(), b.clone()];
        let copied = watch(copy_both(a, b));
        left.send("abc");
        right.send("defg");
        world.settle();
        let peers = [&left, &right];
        peers[broken].reset();
        world.settle();
        let failure = copied.err();
        assert!(failure.to_string().starts_with(begin), "{failure}");
        let after =
            if broken == 0 { "after 3 bytes from a to b" } else { "after 4 bytes from b to a" };
        assert!(failure.to_string().ends_with(after), "{failure}");
        assert_eq!(kind(&failure), io::ErrorKind::ConnectionReset);
        let write = watch(kept[1 - broken].write("x"));
        world.settle();
        assert_eq!(kind(&write.err()), io::ErrorKind::ConnectionAborted);
        peers[1 - broken].received();
        assert!(peers[1 - broken].is_at_end(), "the other one does not wait for ever");
    }
}

#[test]
fn a_receiver_that_is_gone_is_found_out_with_the_next_bytes() {
    let mut world = World::new();
    let [(from, source), (to, sink)] = proxied(&mut world);
    let copied = watch(copy(from, to));
    source.send("abc");
    world.settle();
    sink.reset();
    source.send("def");
    world.settle();
    let failure = copied.err();
    let text = "cannot write to the second, after 3 bytes from the first to the second";
    assert_eq!(failure.to_string(), text);
    assert_eq!(kind(&failure), io::ErrorKind::BrokenPipe);
}

#[test]
fn a_reset_after_a_finish_is_no_hang_for_the_other() {
    let mut world = World::new();
    let [(a, left), (b, right)] = proxied(&mut world);
    let copied = watch(copy_both(a, b));
    left.finish();
    world.settle();
    assert!(right.is_at_end());
    left.reset();
    right.send("answer");
    world.settle();
    let failure = copied.err();
    assert!(failure.to_string().starts_with("cannot write to a"), "{failure}");
}

/// Quits a copy after so many turns; what went through and what is left are all of it, in order.
fn quit_a_copy(turns: usize, sent_before: bool, how: fn(Deferred<u64>)) -> Vec<u8> {
    let mut world = World::new();
    let [(from, source), (to, sink)] = proxied(&mut world);
    if sent_before {
        source.send("abc");
        world.settle();
    }
    let copying = copy(from.clone(), to.clone());
    source.send("def");
    for _ in 0..turns {
        world.reactor.turn(Some(ms(0))).unwrap();
    }
    how(copying);
    world.settle();
    source.send("ghi");
    source.finish();
    world.settle();
    let mut through = sink.received();
    let mut all = through.clone();
    loop {
        let read = watch(from.read(100));
        world.settle();
        let bytes = read.ok();
        if bytes.is_empty() {
            break;
        }
        all.extend_from_slice(&bytes);
    }
    let expected = if sent_before { "abcdefghi" } else { "defghi" };
    assert_eq!(all, expected.as_bytes(), "{turns} turns, sent before: {sent_before}");
    // The stream it wrote to is fit for more.
    let write = watch(to.write("."));
    world.settle();
    write.ok();
    assert_eq!(sink.received(), b".");
    if all != through {
        through.clear();
    }
    through
}

#[test]
fn a_cancelled_copy_loses_nothing_at_any_point() {
    let cancel: fn(Deferred<u64>) = |copying| {
        copying.cancel();
        assert!(watch(copying).is_cancelled());
    };
    for turns in 0..8 {
        for sent_before in [false, true] {
            let all = quit_a_copy(turns, sent_before, cancel);
            assert!(all.is_empty(), "it went on");
        }
    }
}

#[test]
fn a_copy_that_was_left_goes_on_to_its_end() {
    for turns in 0..8 {
        for sent_before in [false, true] {
            let all = quit_a_copy(turns, sent_before, drop);
            assert!(!all.is_empty(), "it stopped");
        }
    }
}

#[test]
fn a_stuck_copy_ends_at_once_when_cancelled_and_what_it_read_goes_out() {
    let mut world = World::new();
    world.manual.set_capacity(4);
    let [(a, left), (b, right)] = proxied(&mut world);
    let copying = copy_both(a, b);
    for _ in 0..3 {
        left.send("abcd");
        world.settle();
    }
    copying.cancel();
    assert!(watch(copying).is_cancelled());
    world.settle();
    let mut arrived = Vec::new();
    for _ in 0..4 {
        arrived.extend(right.received());
        world.settle();
    }
    assert_eq!(arrived, b"abcdabcd", "what was not read was not taken");
    assert!(right.is_at_end() || right.is_reset());
}

#[test]
fn a_stream_is_its_own_echo() {
    let mut world = World::new();
    let [(stream, peer), _] = proxied(&mut world);
    let copied = watch(copy(stream.clone(), stream));
    peer.send("hello");
    world.settle();
    assert_eq!(peer.received(), b"hello");
    peer.finish();
    world.settle();
    assert_eq!(copied.ok(), 5);
    assert!(peer.is_at_end(), "nobody holds it any more");
}

#[test]
fn the_reactor_s_end_ends_it() {
    let mut reactor = Reactor::builder().driver(Manual::new()).build().unwrap();
    let (_client, front) = UnixStream::pair().unwrap();
    let (back, _server) = UnixStream::pair().unwrap();
    let copied = watch(copy_both(front, back));
    reactor.turn(Some(ms(0))).unwrap();
    drop(reactor);
    assert!(copied.is_cancelled());
}

/// Sends 2 MB each way through a proxy between sockets of the operating system.
#[test]
fn a_proxy_passes_on_what_it_gets() {
    thence_reactor::test(async {
        let (front, back) = (TcpListener::bind(ANY)?, TcpListener::bind(ANY)?);
        let (at, behind) = (front.local_addr(), back.local_addr());
        let proxy = flow(async move {
            let (client, _) = front.accept().await?;
            copy_both(client, TcpStream::connect(behind).await?).await
        });
        let server = flow(async move {
            let (stream, _) = back.accept().await?;
            let stream = Transport::from(stream);
            let copied = copy(stream.clone(), stream.clone()).await?;
            stream.shutdown().await?;
            Ok(copied)
        });
        let client = Rc::new(TcpStream::connect(at).await?);
        let sent: Bytes = (0..2_000_000_u32).map(|n| (n % 251) as u8).collect();
        let writing = flow({
            let (client, sent) = (client.clone(), sent.clone());
            async move {
                client.write(sent).await?;
                client.shutdown().await
            }
        });
        assert_eq!(client.read_exact(sent.len()).await?, sent);
        assert_eq!(client.read(1).await?, "");
        writing.await?;
        let len = sent.len() as u64;
        assert_eq!(server.await?, len);
        assert_eq!(proxy.await?, Copied { a_to_b: len, b_to_a: len });
        Ok(())
    });
}
