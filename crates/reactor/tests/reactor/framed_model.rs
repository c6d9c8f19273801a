//! Frames that are waited for, left and cancelled at random, against a plain list of them.

use proptest::prelude::*;
use thence_core::Deferred;
use thence_reactor::{
    DeferredExt,
    net::framing::{Framed, Lines},
};

use crate::common::{World, ms};

#[derive(Debug, Clone)]
enum Act {
    Cancel(usize),
    /// Looks at the end of a wait, if it has one and is the oldest.
    Claim,
    Leave(usize),
    Next(Option<u64>),
    /// So many bytes of the stream.
    Send(usize),
    Turn,
    Wait(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => (0..4_usize).prop_map(Act::Cancel),
        4 => Just(Act::Claim),
        3 => (0..4_usize).prop_map(Act::Leave),
        6 => prop::option::of(0..4_u64).prop_map(Act::Next),
        4 => (1..12_usize).prop_map(Act::Send),
        4 => Just(Act::Turn),
        2 => (0..4_u64).prop_map(Act::Wait),
    ]
}

/// Takes the frame out of a wait that has ended, if it has one.
fn claim(wait: Deferred<Option<String>>) -> Option<String> {
    crate::common::watch(wait).take()?.ok().flatten()
}

proptest! {
    #[test]
    fn every_frame_is_seen_once_and_one_by_one_in_order(
        most in 1..4_usize,
        recv_max in 1..12_usize,
        lengths in prop::collection::vec(0..6_usize, 0..30),
        acts in prop::collection::vec(act(), 1..120),
    ) {
        let mut world = World::new();
        world.manual.set_recv_max(recv_max);
        let (stream, peer) = world.connection();
        let frames = Framed::new(stream, Lines::new());
        let sent: Vec<String> =
            lengths.iter().enumerate().map(|(n, len)| format!("{n}{}", "x".repeat(*len))).collect();
        let mut bytes: &[u8] = &sent.iter().flat_map(|line| [line, "\n"]).collect::<String>().into_bytes();
        let mut seen = Vec::new();
        let mut waits: Vec<Deferred<Option<String>>> = Vec::new();
        for act in acts {
            match act {
                Act::Cancel(at) => waits.get(at).into_iter().for_each(Deferred::cancel),
                Act::Claim if waits.first().is_some_and(Deferred::is_ready) => {
                    seen.extend(claim(waits.remove(0)));
                }
                Act::Claim => {}
                Act::Leave(at) if at < waits.len() => drop(waits.remove(at)),
                Act::Leave(_) => {}
                Act::Next(_) if waits.len() == most => {}
                Act::Next(limit) => waits.push(match limit {
                    Some(limit) => frames.next().timeout(ms(limit)),
                    None => frames.next(),
                }),
                Act::Send(n) => {
                    let (now, rest) = bytes.split_at(n.min(bytes.len()));
                    prop_assert_eq!(peer.send(now), now.len());
                    bytes = rest;
                }
                Act::Turn => world.reactor.turn(Some(ms(0))).unwrap(),
                Act::Wait(n) => world.pass(ms(n)),
            }
        }
        drop(waits);
        peer.send(bytes);
        peer.finish();
        loop {
            let next = frames.next();
            world.settle();
            prop_assert!(next.is_ready());
            match claim(next) {
                Some(line) => seen.push(line),
                None => break,
            }
        }
        // What timed out said so to nobody.
        world.forget_unhandled();
        // Of several that have their frames the last may be looked at, and the first go back.
        if most > 1 {
            seen.sort_by_key(|line| sent.iter().position(|other| other == line));
        }
        prop_assert_eq!(seen, sent);
    }
}
