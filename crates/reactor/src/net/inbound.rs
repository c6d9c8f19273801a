//! What has come and was not read.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Bytes in the order of the stream, each piece with its place in it, so that one that comes back
/// finds its place again whatever came back before it.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    pieces: VecDeque<(u64, Bytes)>,
    /// The place of the next byte to come.
    next: u64,
    /// What was taken from before this place does not come back.
    start: u64,
    len: usize,
}

impl Inbound {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// New bytes from the other end.
    pub(super) fn push(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        let place = self.next;
        self.next += bytes.len() as u64;
        self.len += bytes.len();
        self.pieces.push_back((place, bytes));
    }

    /// As [`push`](Inbound::push) and [`take`](Inbound::take) of what comes when nothing is here: it
    /// need not come by. Gives its place.
    pub(super) fn pass(&mut self, len: usize) -> u64 {
        debug_assert_eq!(self.len, 0);
        let place = self.next;
        self.next += len as u64;
        place
    }

    /// Bytes that were taken from `place` and that nobody wanted.
    pub(super) fn put_back(&mut self, place: u64, bytes: Bytes) {
        if bytes.is_empty() || place < self.start {
            return;
        }
        self.len += bytes.len();
        let at = self.pieces.partition_point(|(other, _)| *other < place);
        self.pieces.insert(at, (place, bytes));
    }

    /// Another stream begins, in which nothing of this one may turn up. Gives what is here.
    pub(super) fn begin_anew(&mut self) -> impl Iterator<Item = Bytes> + use<> {
        self.start = self.next;
        self.len = 0;
        std::mem::take(&mut self.pieces).into_iter().map(|(_, bytes)| bytes)
    }

    /// What is at the front, at most `max` bytes, with its place; `None` when there is nothing.
    pub(super) fn take(&mut self, max: usize) -> Option<(u64, Bytes)> {
        let (place, front) = self.pieces.front_mut()?;
        if front.len() <= max {
            let (place, whole) = self.pieces.pop_front()?;
            self.len -= whole.len();
            return Some((place, whole));
        }
        let taken = front.split_to(max);
        let at = *place;
        *place += taken.len() as u64;
        self.len -= taken.len();
        Some((at, taken))
    }

    /// Exactly `n` bytes in one piece; `None` when there are fewer.
    pub(super) fn take_exact(&mut self, n: usize) -> Option<(u64, Bytes)> {
        if self.len < n {
            return None;
        }
        let (place, first) = self.take(n).unwrap_or((self.next, Bytes::new()));
        if first.len() == n {
            return Some((place, first));
        }
        let mut whole = BytesMut::with_capacity(n);
        whole.extend_from_slice(&first);
        while whole.len() < n {
            let (_, more) = self.take(n - whole.len()).expect("it holds at least n bytes");
            whole.extend_from_slice(&more);
        }
        Some((place, whole.freeze()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_comes_back_finds_its_place() {
        let mut inbound = Inbound::default();
        inbound.push("abcdef".into());
        let (a, first) = inbound.take(2).unwrap();
        let (b, second) = inbound.take(2).unwrap();
        // Whoever leaves first, the order is the stream's.
        inbound.put_back(a, first);
        inbound.put_back(b, second);
        assert_eq!(inbound.take_exact(6).unwrap().1, "abcdef");
        assert_eq!(inbound.len(), 0);
    }

    #[test]
    fn what_was_taken_before_a_new_beginning_does_not_come_back() {
        let mut inbound = Inbound::default();
        inbound.push("abcd".into());
        let (place, taken) = inbound.take(2).unwrap();
        assert_eq!(inbound.begin_anew().collect::<Vec<_>>(), ["cd"]);
        inbound.push("new".into());
        inbound.put_back(place, taken);
        assert_eq!((inbound.len(), inbound.take(9).unwrap().1), (3, "new".into()));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_moved(
            pieces in prop::collection::vec(1..20_usize, 1..10),
            cuts in prop::collection::vec((1..30_usize, any::<bool>(), any::<bool>()), 0..30),
        ) {
            let stream: Vec<u8> = (0..pieces.iter().sum::<usize>()).map(|n| n as u8).collect();
            let mut inbound = Inbound::default();
            let mut from = 0;
            for len in pieces {
                inbound.push(Bytes::copy_from_slice(&stream[from..from + len]));
                from += len;
            }
            let mut kept = Vec::new();
            for (n, exact, latest_first) in cuts {
                let taken = if exact { inbound.take_exact(n) } else { inbound.take(n) };
                let Some(taken) = taken else { continue };
                kept.push(taken);
                if latest_first {
                    kept.reverse();
                }
            }
            for (place, bytes) in kept {
                inbound.put_back(place, bytes);
            }
            let all = inbound.take_exact(stream.len()).map(|(_, bytes)| bytes.to_vec());
            prop_assert_eq!(all, Some(stream));
        }
    }
}
