//! What the two say to each other: nine bytes, and what they ask for.

use std::sync::OnceLock;

use bytes::Bytes;
use thence_core::Failure;

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub what: What,
    /// Where the body stands in [`text`], and how long it is.
    pub from: usize,
    pub len: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum What {
    /// The body follows, and comes back.
    Echo,
    /// The load is over.
    Over,
    /// The body comes.
    Send,
}

impl Request {
    pub const LEN: usize = 9;

    pub fn head(self) -> Bytes {
        let what = match self.what {
            What::Echo => b'E',
            What::Over => b'O',
            What::Send => b'S',
        };
        let mut head = vec![what];
        head.extend((self.from as u32).to_be_bytes());
        head.extend((self.len as u32).to_be_bytes());
        head.into()
    }

    pub fn read(head: &[u8]) -> Result<Self, Failure> {
        let word = |at: usize| {
            let bytes = head[at..at + 4].try_into().expect("four bytes");
            u32::from_be_bytes(bytes) as usize
        };
        let what = match head[0] {
            b'E' => What::Echo,
            b'O' => What::Over,
            b'S' => What::Send,
            other => return Err(Failure::msg(format!("no request begins with {other}"))),
        };
        let request = Request { what, from: word(1), len: word(5) };
        if request.from + request.len > text().len() {
            return Err(Failure::msg(format!("{request:?} is out of bounds")));
        }
        Ok(request)
    }

    pub fn body(self) -> Bytes {
        text().slice(self.from..self.from + self.len)
    }
}

/// What all bodies are taken from: the same in both processes, no two places alike.
pub fn text() -> &'static Bytes {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    TEXT.get_or_init(|| {
        let mut state = 0x9e37_79b9_u32;
        let next = |_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as u8
        };
        (0..2 << 20).map(next).collect()
    })
}

/// The request that ends the server.
pub fn over() -> Bytes {
    Request { what: What::Over, from: 0, len: 0 }.head()
}
