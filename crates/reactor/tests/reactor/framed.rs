//! Frames on a connection: who leaves or cancels where, and what the next one sees.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    rc::{Rc, Weak},
};

use bytes::BytesMut;
use futures_core::Stream;
use thence_core::{Deferred, Failure, flow};
use thence_reactor::{
    Reactor,
    driver::manual::{Manual, Peer},
    net::{
        UnixStream,
        framing::{Decoder, FrameError, Framed, LengthPrefixed, Lines},
    },
};

use crate::common::{World, ms, watch};

/// The lines of a connection, and its other end.
fn lines(world: &mut World) -> (Framed<Lines>, Peer) {
    let (stream, peer) = world.connection();
    (Framed::new(stream, Lines::new()), peer)
}

fn line(text: &str) -> Option<String> {
    Some(text.to_string())
}

#[test]
fn frames_go_to_who_waits_in_order_and_the_end_to_all() {
    let mut world = World::new();
    let (lines, peer) = lines(&mut world);
    let waits = [(); 4].map(|()| watch(lines.next()));
    peer.send("one\ntw");
    world.settle();
    assert_eq!(waits[0].ok(), line("one"));
    assert!(!waits[1].has_ended());
    peer.send("o\nthree");
    peer.finish();
    world.settle();
    assert_eq!(waits[1].ok(), line("two"));
    assert_eq!(waits[2].ok(), line("three"));
    assert_eq!(waits[3].ok(), None);
    assert_eq!(watch(lines.next()).ok(), None, "it stays the end");
}

/// Leaves, or cancels, a wait after so many turns; then others wait.
fn quit_a_wait(turns: usize, sent_before: bool, how: fn(Deferred<Option<String>>)) {
    let mut world = World::new();
    let (lines, peer) = lines(&mut world);
    if sent_before {
        peer.send("one\ntw");
        world.settle();
    }
    let first = lines.next();
    for _ in 0..turns {
        world.reactor.turn(Some(ms(0))).unwrap();
    }
    how(first);
    if !sent_before {
        peer.send("one\ntw");
    }
    let again = [watch(lines.next()), watch(lines.next())];
    peer.send("o\n");
    world.settle();
    let both = again.map(|wait| wait.ok());
    assert_eq!(both, [line("one"), line("two")], "{turns} turns, sent before: {sent_before}");
}

#[test]
fn a_wait_that_quits_at_any_point_loses_nothing() {
    let leave: fn(Deferred<_>) = |wait| drop(wait);
    let cancel: fn(Deferred<_>) = |wait| {
        wait.cancel();
        drop(wait);
    };
    let leave_and_cancel: fn(Deferred<_>) = |wait| {
        let canceller = wait.canceller();
        drop(wait);
        canceller.cancel();
    };
    for how in [leave, cancel, leave_and_cancel] {
        for turns in 0..4 {
            for sent_before in [false, true] {
                quit_a_wait(turns, sent_before, how);
            }
        }
    }
}

#[test]
fn whoever_leaves_first_frames_come_back_in_order() {
    for swapped in [false, true] {
        let mut world = World::new();
        let (lines, peer) = lines(&mut world);
        peer.send("a\nb\nc\n");
        peer.finish();
        let mut waits = [lines.next(), lines.next(), lines.next(), lines.next()];
        world.settle();
        assert!(waits.iter().all(Deferred::is_ready));
        if swapped {
            waits.reverse();
        }
        drop(waits);
        let again = [(); 4].map(|()| watch(lines.next()));
        assert_eq!(again.map(|wait| wait.ok()), [line("a"), line("b"), line("c"), None]);
    }
}

#[test]
fn a_frame_that_comes_back_goes_to_whoever_waits_already() {
    let mut world = World::new();
    let (lines, peer) = lines(&mut world);
    let (first, second) = (lines.next(), watch(lines.next()));
    peer.send("x\n");
    world.settle();
    assert!(first.is_ready() && !second.has_ended());
    drop(first);
    world.settle();
    assert_eq!(second.ok(), line("x"));
}

#[test]
fn a_cancelled_wait_ends_cancelled_and_the_others_go_on() {
    let mut world = World::new();
    let (lines, peer) = lines(&mut world);
    let first = lines.next();
    let canceller = first.canceller();
    let (first, second) = (watch(first), watch(lines.next()));
    world.settle();
    canceller.cancel();
    assert!(first.is_cancelled());
    peer.send("x\n");
    world.settle();
    assert_eq!(second.ok(), line("x"));
}

#[test]
fn whoever_asks_while_the_last_one_leaves_is_not_ended_with_it() {
    let mut world = World::new();
    let (lines, peer) = lines(&mut world);
    let second = watch(flow(async move {
        let left = lines.next();
        thence_reactor::after(ms(1)).await;
        // In one callback: the read of the first is still on its way to its end.
        drop(left);
        lines.next().await
    }));
    world.settle();
    world.pass(ms(1));
    peer.send("x\n");
    world.settle();
    assert_eq!(second.ok(), line("x"));
}

#[test]
fn it_reads_on_only_while_somebody_waits() {
    let mut world = World::new();
    let (lines, peer) = lines(&mut world);
    let left = lines.next();
    world.settle();
    drop(left);
    let text = "x".repeat(1000);
    let mut taken = 0;
    for _ in 0..1000 {
        taken += peer.send(&text);
        world.settle();
    }
    // What a connection reads ahead, the piece that made it enough, and what is on the way.
    assert!(taken <= 3 * 65_536, "{taken}");
    let stuck = watch(lines.next());
    world.settle();
    let too_long = stuck.err();
    assert!(matches!(too_long.downcast_ref(), Some(FrameError::TooLong { limit: 65_536, .. })));
}

#[test]
fn a_wait_that_was_left_does_not_hold_a_run_open() {
    let mut world = World::new();
    let begun = world.manual.now();
    let (lines, peer) = lines(&mut world);
    let kept = world
        .reactor
        .run(async move {
            drop(lines.next());
            Ok((lines, peer))
        })
        .unwrap();
    assert_eq!(world.manual.now(), begun);
    drop(kept);
}

#[test]
fn a_wait_keeps_its_connection_and_nothing_else_does() {
    let mut world = World::new();
    let (lines, peer) = lines(&mut world);
    let wait = watch(lines.next());
    drop(lines);
    world.settle();
    assert!(!peer.is_at_end());
    peer.send("x\n");
    world.settle();
    assert_eq!(wait.ok(), line("x"));
    assert!(peer.is_at_end());
}

#[test]
fn a_connection_closes_when_the_last_wait_has_quit() {
    let leave: fn(Deferred<Option<String>>) = |wait| drop(wait);
    let cancel: fn(Deferred<Option<String>>) = |wait| {
        wait.cancel();
        assert!(watch(wait).is_cancelled());
    };
    for how in [leave, cancel] {
        let mut world = World::new();
        let (lines, peer) = lines(&mut world);
        let waits = [lines.next(), lines.next()];
        drop(lines);
        for wait in waits {
            world.settle();
            assert!(!peer.is_at_end());
            how(wait);
        }
        world.settle();
        assert!(peer.is_at_end());
    }
}

#[test]
fn every_frame_before_an_error_is_given_and_then_the_error_stays() {
    let mut world = World::new();
    let (stream, peer) = world.connection();
    let pieces = Framed::new(stream, LengthPrefixed::u8().max_len(3));
    let waits = [(); 4].map(|()| watch(pieces.next()));
    peer.send(b"\x02ab\x00\x04abcd\x01x");
    world.settle();
    assert_eq!(waits[0].ok().unwrap(), "ab");
    assert_eq!(waits[1].ok().unwrap(), "");
    let [_, _, third, fourth] = waits;
    for wait in [third, fourth, watch(pieces.next())] {
        let too_long = FrameError::TooLong { limit: 3, len: Some(4), came: 6 };
        assert_eq!(wait.err().downcast_ref(), Some(&too_long));
    }
    // The other end can be told.
    let answer = watch(pieces.send("bad"));
    world.settle();
    answer.ok();
    assert_eq!(peer.received(), b"\x03bad");
}

#[test]
fn an_end_inside_a_frame_is_an_error() {
    let mut world = World::new();
    let (stream, peer) = world.connection();
    let pieces = Framed::new(stream, LengthPrefixed::u8());
    let wait = watch(pieces.next());
    peer.send(b"\x04ab");
    peer.finish();
    world.settle();
    let eof = FrameError::UnexpectedEof { came: 3, of: Some(5) };
    assert_eq!(wait.err().downcast_ref(), Some(&eof));
}

#[test]
fn a_reset_fails_everybody_after_what_had_come() {
    let mut world = World::new();
    let (lines, peer) = lines(&mut world);
    peer.send("a\nb");
    let waits = [(); 3].map(|()| watch(lines.next()));
    world.settle();
    assert_eq!(waits[0].ok(), line("a"));
    peer.reset();
    world.settle();
    for wait in [&waits[1], &waits[2], &watch(lines.next())] {
        let failure = wait.err();
        let error = failure.downcast_ref::<io::Error>().expect("an I/O error");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}

#[test]
fn what_cannot_be_a_frame_is_not_sent() {
    let mut world = World::new();
    let (lines, peer) = lines(&mut world);
    let sends = ["one", "two\nthree", "four"].map(|text| watch(lines.send(text)));
    world.settle();
    sends[0].ok();
    assert_eq!(sends[1].err().downcast_ref(), Some(&FrameError::NotOneLine));
    sends[2].ok();
    assert_eq!(peer.received(), b"one\nfour\n");
    let shut = watch(lines.shutdown());
    world.settle();
    shut.ok();
    assert!(peer.is_at_end());
}

#[test]
fn the_reactor_s_end_ends_everybody() {
    let mut reactor = Reactor::builder().driver(Manual::new()).build().unwrap();
    let (here, there) = UnixStream::pair().unwrap();
    let lines = Framed::new(here, Lines::new());
    let waits = [watch(lines.next()), watch(lines.next())];
    reactor.turn(Some(ms(0))).unwrap();
    drop(reactor);
    assert!(waits.iter().all(|wait| wait.is_cancelled()));
    assert!(watch(lines.next()).err().to_string().contains("reactor"));
    drop(there);
}

#[test]
fn frames_are_a_stream() {
    let mut world = World::new();
    let (mut lines, peer) = lines(&mut world);
    let all = watch(flow(async move {
        let mut all = Vec::new();
        while let Some(line) = poll_fn(|task| Pin::new(&mut lines).poll_next(task)).await {
            all.push(line?);
        }
        Ok(all)
    }));
    peer.send("a\nb");
    world.settle();
    peer.send("c\n");
    peer.finish();
    world.settle();
    assert_eq!(all.ok(), ["a", "bc"]);
}

/// Frames of one byte; what it does with some of them is up to the test.
struct Bytewise(Box<dyn FnMut(u8)>);

impl Decoder for Bytewise {
    type Item = u8;

    fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<u8>, Failure> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let byte = bytes.split_to(1)[0];
        (self.0)(byte);
        Ok(Some(byte))
    }
}

#[test]
fn a_decoder_that_panics_is_told_and_nobody_hangs() {
    let mut world = World::new();
    let (stream, peer) = world.connection();
    let bytes = Framed::new(stream, Bytewise(Box::new(|byte| assert_ne!(byte, b'!'))));
    let waits = [(); 3].map(|()| watch(bytes.next()));
    peer.send("a!b");
    world.settle();
    assert_eq!(waits[0].ok(), Some(b'a'));
    assert!(waits[1].stop().contains("panicked"));
    assert!(waits[2].err().to_string().contains("panicked"));
    assert!(watch(bytes.next()).err().to_string().contains("panicked"));
}

#[test]
fn a_decoder_may_ask_for_frames() {
    let mut world = World::new();
    let (stream, peer) = world.connection();
    let slot: Rc<RefCell<Weak<Framed<Bytewise>>>> = Rc::default();
    let asked = Rc::new(RefCell::new(Vec::new()));
    let (frames, waits) = (slot.clone(), asked.clone());
    let bytes = Rc::new(Framed::new(
        stream,
        Bytewise(Box::new(move |byte| {
            if byte == b'a' {
                let frames = frames.borrow().upgrade().unwrap();
                waits.borrow_mut().push(watch(frames.next()));
            }
        })),
    ));
    slot.replace(Rc::downgrade(&bytes));
    let first = watch(bytes.next());
    peer.send("ab");
    world.settle();
    assert_eq!(first.ok(), Some(b'a'));
    assert_eq!(asked.borrow()[0].ok(), Some(b'b'));
}
