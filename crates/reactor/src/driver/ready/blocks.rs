//! Memory for what is received.

use std::io;

use bytes::{Bytes, BytesMut};

use crate::driver::RECV_MAX;

/// The buffers that all connections of a driver receive into.
///
/// A large piece is handed out in the buffer it was received into, which is used again when nobody
/// has anything of it any more. A piece of middling size gets a block of just that, since a small
/// part must not hold a whole buffer. Small ones lie in one block together, so that most receives
/// allocate nothing, and one that waits for long holds no more than such a block. So a connection
/// that waits for bytes has no buffer at all.
pub(super) struct Blocks {
    buffers: [Buffer; BUFFERS],
    /// The one that comes next.
    next: usize,
    small: BytesMut,
    /// For what takes less than a buffer; empty until something does.
    scratch: Vec<u8>,
}

enum Buffer {
    Here(Vec<u8>),
    /// Its bytes are somebody's, and perhaps nobody's by now.
    Out(Bytes),
}

impl Blocks {
    pub(super) fn new() -> Self {
        Blocks {
            buffers: std::array::from_fn(|_| Buffer::Here(Vec::new())),
            next: 0,
            small: BytesMut::new(),
            scratch: Vec::new(),
        }
    }

    /// What `receive` puts into an empty buffer with room for [`RECV_MAX`] bytes.
    #[inline]
    pub(super) fn fill_whole(
        &mut self,
        receive: impl FnOnce(&mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<Bytes> {
        let buffer = self.buffers[self.next].ready();
        receive(buffer)?;
        if buffer.len() <= LARGE {
            let bytes = copy(&mut self.small, buffer);
            buffer.clear();
            return Ok(bytes);
        }
        let bytes = Bytes::from(std::mem::take(buffer));
        self.buffers[self.next] = Buffer::Out(bytes.clone());
        self.next = (self.next + 1) % BUFFERS;
        Ok(bytes)
    }

    /// What `receive` writes to the front of `max` bytes.
    pub(super) fn fill(
        &mut self,
        max: usize,
        receive: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<Bytes> {
        self.scratch.resize(RECV_MAX, 0);
        let n = receive(&mut self.scratch[..max])?;
        Ok(copy(&mut self.small, &self.scratch[..n]))
    }
}

impl Buffer {
    /// An empty buffer, with nobody else having anything of it.
    #[inline]
    fn ready(&mut self) -> &mut Vec<u8> {
        if !matches!(self, Buffer::Here(buffer) if buffer.capacity() >= RECV_MAX) {
            self.make_ready();
        }
        match self {
            Buffer::Here(buffer) => buffer,
            Buffer::Out(_) => unreachable!("it was made ready"),
        }
    }

    #[cold]
    fn make_ready(&mut self) {
        let before = std::mem::replace(self, Buffer::Here(Vec::new()));
        let back = match before {
            Buffer::Here(buffer) => buffer,
            Buffer::Out(bytes) => bytes.try_into_mut().map_or_else(|_| Vec::new(), Vec::from),
        };
        let mut buffer =
            if back.capacity() < RECV_MAX { Vec::with_capacity(RECV_MAX) } else { back };
        buffer.clear();
        *self = Buffer::Here(buffer);
    }
}

#[inline]
fn copy(small: &mut BytesMut, received: &[u8]) -> Bytes {
    let n = received.len();
    if n > SMALL || n == 0 {
        return Bytes::copy_from_slice(received);
    }
    if small.capacity() < n {
        // The old block is used again when nobody has anything of it any more.
        small.reserve(BLOCK);
    }
    small.extend_from_slice(received);
    small.split().freeze()
}

/// As many large pieces may be on their way before another buffer is allocated.
const BUFFERS: usize = 32;
const LARGE: usize = 16 * 1024;
const SMALL: usize = 256;
const BLOCK: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(blocks: &mut Blocks, n: usize, with: u8) -> Bytes {
        let filled = blocks.fill_whole(|buffer| {
            assert!(buffer.is_empty() && buffer.capacity() >= RECV_MAX);
            buffer.resize(n, with);
            Ok(())
        });
        filled.unwrap()
    }

    #[test]
    fn pieces_keep_their_bytes_whatever_comes_later() {
        let mut blocks = Blocks::new();
        let mut kept = Vec::new();
        for round in 0..250_u8 {
            let n = [1, 64, SMALL, SMALL + 1, LARGE + 1, RECV_MAX][usize::from(round) % 6];
            kept.push((n, round, fill(&mut blocks, n, round)));
            if round % 3 == 0 {
                kept.swap_remove(0);
            }
        }
        for (n, with, bytes) in kept {
            assert_eq!(bytes, vec![with; n]);
        }
    }

    #[test]
    fn a_buffer_that_came_back_is_used_again() {
        let mut blocks = Blocks::new();
        let mut seen = Vec::new();
        for round in 0..100 {
            seen.push(fill(&mut blocks, RECV_MAX, round).as_ptr());
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), BUFFERS);
    }

    #[test]
    fn the_end_of_a_stream_takes_no_memory() {
        let mut blocks = Blocks::new();
        assert!(fill(&mut blocks, 0, 0).is_empty());
        assert_eq!(blocks.small.capacity(), 0);
    }
}
