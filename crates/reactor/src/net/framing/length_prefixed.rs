//! Frames whose length stands before them.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thence_core::Failure;

use super::{Decoder, Encoder, FrameError};

/// Pieces of bytes, each with its length before it as a number of 1, 2, 4 or 8 bytes, the most
/// significant first unless said. The length counts the piece alone.
///
/// A piece is given as a slice of what was received, which lives as long as any of its slices.
///
/// ```
/// use thence_reactor::net::{UnixStream, framing::{Framed, LengthPrefixed}};
/// # thence_reactor::run(async {
///
/// let (here, there) = UnixStream::pair()?;
/// let pieces = Framed::new(there, LengthPrefixed::u16().max_len(1000));
/// here.write(&b"\x00\x05hello\x00\x00"[..]).await?;
/// assert_eq!(pieces.next().await?.unwrap(), "hello");
/// assert_eq!(pieces.next().await?.unwrap(), "");
/// # Ok(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct LengthPrefixed {
    width: usize,
    little_endian: bool,
    max_len: usize,
}

impl LengthPrefixed {
    /// With a length of one byte, so of at most 255 bytes.
    pub fn u8() -> Self {
        Self::new(1)
    }

    /// With a length of two bytes, so of at most 65,535 bytes.
    pub fn u16() -> Self {
        Self::new(2)
    }

    /// With a length of four bytes; of at most 8 MiB unless said.
    pub fn u32() -> Self {
        Self::new(4)
    }

    /// With a length of eight bytes; of at most 8 MiB unless said.
    pub fn u64() -> Self {
        Self::new(8)
    }

    fn new(width: usize) -> Self {
        LengthPrefixed { width, little_endian: false, max_len: MAX_LEN.min(most(width)) }
    }

    /// The least significant byte of the length comes first.
    pub fn little_endian(self) -> Self {
        LengthPrefixed { little_endian: true, ..self }
    }

    /// Pieces of at most `bytes`. A longer one is an error as soon as its length has come, so that
    /// nobody can make this end keep more than that.
    pub fn max_len(self, bytes: usize) -> Self {
        LengthPrefixed { max_len: bytes.min(most(self.width)), ..self }
    }

    /// The length at the front, when all of it has come.
    fn len(&self, bytes: &BytesMut) -> Option<u64> {
        let mut prefix = bytes.get(..self.width)?;
        Some(match self.little_endian {
            false => prefix.get_uint(self.width),
            true => prefix.get_uint_le(self.width),
        })
    }
}

impl Decoder for LengthPrefixed {
    type Item = Bytes;

    fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Bytes>, Failure> {
        let Some(len) = self.len(bytes) else { return Ok(None) };
        if len > self.max_len as u64 {
            let came = bytes.len() - self.width;
            return Err(FrameError::TooLong { limit: self.max_len, len: Some(len), came }.into());
        }
        let len = len as usize;
        if bytes.len() - self.width < len {
            return Ok(None);
        }
        bytes.advance(self.width);
        Ok(Some(bytes.split_to(len).freeze()))
    }

    fn decode_end(&mut self, bytes: &mut BytesMut) -> Result<Option<Bytes>, Failure> {
        match self.decode(bytes)? {
            None if !bytes.is_empty() => {
                let of = self.len(bytes).map(|len| self.width + len as usize);
                Err(FrameError::UnexpectedEof { came: bytes.len(), of }.into())
            }
            frame => Ok(frame),
        }
    }
}

impl<T: AsRef<[u8]>> Encoder<T> for LengthPrefixed {
    fn encode(&mut self, item: T, bytes: &mut BytesMut) -> Result<(), Failure> {
        let item = item.as_ref();
        let len = item.len() as u64;
        if item.len() > self.max_len {
            let came = item.len();
            return Err(FrameError::TooLong { limit: self.max_len, len: Some(len), came }.into());
        }
        bytes.reserve(self.width + item.len());
        match self.little_endian {
            false => bytes.put_uint(len, self.width),
            true => bytes.put_uint_le(len, self.width),
        }
        bytes.extend_from_slice(item);
        Ok(())
    }
}

/// The longest that a length of so many bytes can say.
fn most(width: usize) -> usize {
    let most = u64::MAX >> (64 - 8 * width);
    usize::try_from(most).unwrap_or(usize::MAX)
}

const MAX_LEN: usize = 8 * 1024 * 1024;
