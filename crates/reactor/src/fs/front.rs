//! What was read from a file and came back.

use std::collections::BTreeMap;

use bytes::Bytes;

/// Bytes that are nobody's, in front of what the operating system reads next.
///
/// A place counts the bytes that were read since the file was opened.
#[derive(Default)]
pub(super) struct Front {
    /// By the place of their first byte.
    pieces: BTreeMap<u64, Bytes>,
    /// The place of what the operating system reads next.
    next: u64,
    /// What is before it was given up.
    oldest: u64,
}

impl Front {
    /// The first piece, at most `max` of it, and its place.
    pub(super) fn take(&mut self, max: usize) -> Option<(u64, Bytes)> {
        let (place, mut bytes) = self.pieces.pop_first()?;
        let taken = bytes.split_to(max.min(bytes.len()));
        if !bytes.is_empty() {
            self.pieces.insert(place + taken.len() as u64, bytes);
        }
        Some((place, taken))
    }

    /// The place of `len` bytes that the operating system has just read.
    pub(super) fn place(&mut self, len: usize) -> u64 {
        let place = self.next;
        self.next += len as u64;
        place
    }

    pub(super) fn put_back(&mut self, place: u64, bytes: Bytes) {
        if place >= self.oldest && !bytes.is_empty() {
            self.pieces.insert(place, bytes);
        }
    }

    /// Forgets what came back, and what may yet: the position is about to move. Says how far it is
    /// ahead of where whoever reads has got to.
    pub(super) fn give_up(&mut self) -> u64 {
        let mut read = self.next;
        while let Some((place, bytes)) = self.pieces.pop_last()
            && place + bytes.len() as u64 == read
        {
            read = place;
        }
        self.pieces.clear();
        self.oldest = self.next;
        self.next - read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A front before which `pieces` were read, one after the other.
    fn after(pieces: &[&'static str]) -> Front {
        let mut front = Front::default();
        for piece in pieces {
            front.place(piece.len());
        }
        front
    }

    fn take(front: &mut Front, max: usize) -> String {
        front.take(max).map_or_else(String::new, |(_, bytes)| {
            String::from_utf8(bytes.into()).expect("the tests use text")
        })
    }

    #[test]
    fn pieces_come_in_the_order_they_were_read_whichever_came_back_first() {
        let mut front = after(&["abc", "de"]);
        front.put_back(3, "de".into());
        front.put_back(0, "abc".into());
        assert_eq!(take(&mut front, 9), "abc");
        assert_eq!(take(&mut front, 9), "de");
        assert_eq!(take(&mut front, 9), "");
    }

    #[test]
    fn a_part_that_comes_back_is_before_the_rest() {
        let mut front = after(&["abcd"]);
        front.put_back(0, "abcd".into());
        let (place, part) = front.take(1).unwrap();
        front.put_back(place, part);
        assert_eq!(take(&mut front, 1), "a");
        assert_eq!(take(&mut front, 9), "bcd");
    }

    #[test]
    fn giving_up_says_how_many_bytes_nobody_has() {
        let mut front = after(&["abc", "de", "f"]);
        front.put_back(0, "abc".into());
        front.put_back(5, "f".into());
        assert_eq!(front.give_up(), 1); // whoever reads has had "de"
        assert_eq!(front.give_up(), 0);
        front.put_back(3, "de".into()); // too late
        assert_eq!(take(&mut front, 9), "");
    }
}
