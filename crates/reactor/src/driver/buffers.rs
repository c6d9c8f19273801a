//! What a send sends.

use std::{collections::VecDeque, io::IoSlice, iter};

use bytes::{Buf, Bytes};

/// One buffer or several, in order, with what was sent already taken off.
///
/// Most sends have one, which is kept without an allocation.
#[derive(Debug, Default)]
pub struct Buffers {
    /// Empty only when all of them are.
    first: Bytes,
    #[allow(
        clippy::box_collection,
        reason = "most have none, and a list in place is 24 bytes more"
    )]
    more: Option<Box<VecDeque<Bytes>>>,
}

impl Buffers {
    /// Adds one at the end. An empty one is left out.
    pub fn push(&mut self, bytes: Bytes) {
        if self.first.is_empty() {
            self.first = bytes;
        } else if !bytes.is_empty() {
            self.more.get_or_insert_default().push_back(bytes);
        }
    }

    /// Whether everything was taken off.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// How many bytes are left.
    pub fn len(&self) -> usize {
        self.first.len()
            + self.more.iter().flat_map(|more| more.iter()).map(Bytes::len).sum::<usize>()
    }

    /// The bytes at the front that are in one piece.
    pub fn first(&self) -> &[u8] {
        &self.first
    }

    /// Whether they are all.
    pub fn is_one_piece(&self) -> bool {
        self.more.as_ref().is_none_or(|more| more.is_empty())
    }

    /// Lends as many pieces as there are slices, and says how many those are.
    pub fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let pieces = iter::once(&self.first).chain(self.more.iter().flat_map(|more| more.iter()));
        slices.iter_mut().zip(pieces).map(|(slice, bytes)| *slice = IoSlice::new(bytes)).count()
    }

    /// Takes `n` bytes off the front.
    ///
    /// # Panics
    ///
    /// When there are fewer.
    pub fn advance(&mut self, mut n: usize) {
        while n > 0 {
            assert!(!self.is_empty(), "more was taken off than there was");
            let part = n.min(self.first.len());
            self.first.advance(part);
            n -= part;
            if self.first.is_empty() {
                let next = self.more.as_mut().and_then(|more| more.pop_front());
                self.first = next.unwrap_or_default();
            }
        }
    }
}

impl From<Bytes> for Buffers {
    fn from(bytes: Bytes) -> Self {
        Buffers { first: bytes, more: None }
    }
}

impl FromIterator<Bytes> for Buffers {
    fn from_iter<I: IntoIterator<Item = Bytes>>(iter: I) -> Self {
        let mut buffers = Buffers::default();
        iter.into_iter().for_each(|bytes| buffers.push(bytes));
        buffers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_pieces_are_left_out_and_what_is_sent_goes_off_the_front() {
        let mut buffers: Buffers =
            ["", "ab", "", "cde", "f"].into_iter().map(Bytes::from).collect();
        assert_eq!((buffers.len(), buffers.is_one_piece()), (6, false));
        buffers.advance(3);
        assert_eq!(buffers.first(), b"de");
        let mut slices = [IoSlice::new(&[]); 4];
        assert_eq!(buffers.fill(&mut slices), 2);
        assert_eq!(&*slices[1], b"f");
        buffers.advance(3);
        assert!(buffers.is_empty());
    }
}
