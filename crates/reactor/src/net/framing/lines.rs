//! Lines.

use bytes::{Bytes, BytesMut};
use thence_core::Failure;

use super::{Decoder, Encoder, FrameError};

/// Lines of text, which end in `\n` or `\r\n` and are given without it. The last one needs no end.
///
/// A line that is not UTF-8 is an error, [`FrameError::NotUtf8`], which has its bytes; where that
/// may happen and is not the end, take [`ByteLines`].
///
/// ```
/// use thence_reactor::net::{UnixStream, framing::{Framed, Lines}};
/// # thence_reactor::run(async {
///
/// let (here, there) = UnixStream::pair()?;
/// let lines = Framed::new(there, Lines::new().max_len(100));
/// here.write("one\r\ntwo\n").await?;
/// assert_eq!(lines.next().await?.as_deref(), Some("one"));
/// assert_eq!(lines.next().await?.as_deref(), Some("two"));
/// # Ok(()) }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
pub struct Lines(ByteLines);

/// As [`Lines`], of any bytes.
///
/// ```
/// use thence_reactor::net::framing::{ByteLines, Frames};
///
/// let mut lines = Frames::new(ByteLines::new());
/// lines.push(&b"caf\xe9\n"[..]); // Latin-1
/// assert_eq!(lines.next_frame().unwrap().unwrap(), &b"caf\xe9"[..]);
/// ```
#[derive(Clone, Debug)]
pub struct ByteLines {
    max_len: usize,
    /// How many bytes at the front are known to have no line break.
    searched: usize,
}

impl Lines {
    /// Lines of at most 64 KiB.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lines of at most `bytes`, without their end. A longer one is an error as soon as that is
    /// seen, so that nobody can make this end keep more than that.
    pub fn max_len(self, bytes: usize) -> Self {
        Lines(self.0.max_len(bytes))
    }
}

impl ByteLines {
    /// Lines of at most 64 KiB.
    pub fn new() -> Self {
        ByteLines { max_len: MAX_LEN, searched: 0 }
    }

    /// As [`Lines::max_len`].
    pub fn max_len(self, bytes: usize) -> Self {
        ByteLines { max_len: bytes, ..self }
    }

    fn too_long(&self, len: Option<usize>, came: usize) -> Failure {
        FrameError::TooLong { limit: self.max_len, len: len.map(|len| len as u64), came }.into()
    }
}

impl Decoder for ByteLines {
    type Item = Bytes;

    fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Bytes>, Failure> {
        let found = bytes[self.searched..].iter().position(|byte| *byte == b'\n');
        let Some(found) = found else {
            // A carriage return at the end may be half of a line's end.
            let len = bytes.len() - usize::from(bytes.last() == Some(&b'\r'));
            if len > self.max_len {
                return Err(self.too_long(None, bytes.len()));
            }
            self.searched = bytes.len();
            return Ok(None);
        };
        let end = self.searched + found;
        self.searched = 0;
        let mut line = bytes.split_to(end + 1);
        line.truncate(end);
        if line.last() == Some(&b'\r') {
            line.truncate(end - 1);
        }
        if line.len() > self.max_len {
            return Err(self.too_long(Some(line.len()), line.len()));
        }
        Ok(Some(line.freeze()))
    }

    fn decode_end(&mut self, bytes: &mut BytesMut) -> Result<Option<Bytes>, Failure> {
        if let Some(line) = self.decode(bytes)? {
            return Ok(Some(line));
        }
        self.searched = 0;
        let last = bytes.split();
        if last.len() > self.max_len {
            return Err(self.too_long(Some(last.len()), last.len()));
        }
        Ok((!last.is_empty()).then(|| last.freeze()))
    }
}

impl Decoder for Lines {
    type Item = String;

    fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<String>, Failure> {
        self.0.decode(bytes)?.map(text).transpose()
    }

    fn decode_end(&mut self, bytes: &mut BytesMut) -> Result<Option<String>, Failure> {
        self.0.decode_end(bytes)?.map(text).transpose()
    }
}

impl<T: AsRef<[u8]>> Encoder<T> for ByteLines {
    fn encode(&mut self, line: T, bytes: &mut BytesMut) -> Result<(), Failure> {
        let line = line.as_ref();
        if line.contains(&b'\n') || line.last() == Some(&b'\r') {
            return Err(FrameError::NotOneLine.into());
        }
        if line.len() > self.max_len {
            return Err(self.too_long(Some(line.len()), line.len()));
        }
        bytes.reserve(line.len() + 1);
        bytes.extend_from_slice(line);
        bytes.extend_from_slice(b"\n");
        Ok(())
    }
}

impl<T: AsRef<str>> Encoder<T> for Lines {
    fn encode(&mut self, line: T, bytes: &mut BytesMut) -> Result<(), Failure> {
        self.0.encode(line.as_ref(), bytes)
    }
}

impl Default for ByteLines {
    fn default() -> Self {
        Self::new()
    }
}

fn text(line: Bytes) -> Result<String, Failure> {
    match str::from_utf8(&line) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => {
            let valid = error.valid_up_to();
            Err(FrameError::NotUtf8 { line, valid }.into())
        }
    }
}

const MAX_LEN: usize = 64 * 1024;
