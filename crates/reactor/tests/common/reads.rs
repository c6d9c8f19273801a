//! Reads that are left and cancelled at random, against a plain string of bytes.

use bytes::Bytes;
use proptest::prelude::*;
use thence_core::Deferred;
use thence_reactor::{DeferredExt, net::Transport};

use crate::common::{self, World, ms};

#[derive(Debug, Clone)]
pub enum Act {
    Cancel,
    /// Looks at the end of the read, if it has one.
    Claim,
    Leave,
    Read {
        max: usize,
        exact: bool,
        limit: Option<u64>,
    },
    Send(usize),
    Turn,
    Wait(u64),
}

pub fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        1 => Just(Act::Cancel),
        3 => Just(Act::Claim),
        2 => Just(Act::Leave),
        5 => (1..20_usize, any::<bool>(), prop::option::of(0..4_u64))
            .prop_map(|(max, exact, limit)| Act::Read { max, exact, limit }),
        4 => (1..30_usize).prop_map(Act::Send),
        4 => Just(Act::Turn),
        2 => (0..4_u64).prop_map(Act::Wait),
    ]
}

/// Takes the value out of a Deferred that has ended.
fn claim(read: Deferred<Bytes>) -> Option<Bytes> {
    read.is_ready().then(|| common::watch(read)).and_then(|watched| watched.take()?.ok())
}

/// Does `acts` to `stream`, at whose far end `send` sends and `finish` finishes. The stream has to
/// be seen once and in order, whoever left or was cancelled meanwhile.
pub fn are_seen_once_and_in_order(
    world: &mut World,
    stream: &Transport,
    acts: Vec<Act>,
    mut send: impl FnMut(&[u8]),
    finish: impl FnOnce(),
) -> Result<(), TestCaseError> {
    let (mut sent, mut seen) = (Vec::new(), Vec::new());
    let mut pending: Option<Deferred<Bytes>> = None;
    for act in acts {
        match act {
            Act::Cancel => pending.iter().for_each(Deferred::cancel),
            Act::Claim => match pending.take() {
                Some(read) if read.is_ready() => seen.extend(claim(read).unwrap_or_default()),
                other => pending = other,
            },
            Act::Leave => drop(pending.take()),
            // One at a time: of two, the later may be looked at first.
            Act::Read { max, exact, limit } => {
                drop(pending.take());
                let read = if exact { stream.read_exact(max) } else { stream.read(max) };
                pending = Some(match limit {
                    Some(limit) => read.timeout(ms(limit)),
                    None => read,
                });
            }
            Act::Send(n) => {
                let from = sent.len();
                sent.extend((from..from + n).map(|n| n as u8));
                send(&sent[from..]);
            }
            Act::Turn => world.reactor.turn(Some(ms(0))).unwrap(),
            Act::Wait(n) => world.pass(ms(n)),
        }
    }
    drop(pending);
    finish();
    loop {
        let read = stream.read(100);
        world.settle();
        let bytes = claim(read).expect("it has come to its end");
        if bytes.is_empty() {
            break;
        }
        seen.extend(bytes);
    }
    prop_assert_eq!(seen, sent);
    // What timed out said so to nobody.
    world.forget_unhandled();
    Ok(())
}
