//! Streams of bytes as streams of frames: lines, or pieces whose length stands before them.
//!
//! A [`Decoder`] cuts frames off the front of a buffer and knows no sockets; [`Frames`] keeps the
//! buffer between the pieces in which a stream comes, for a protocol or a test; [`Framed`] does it
//! on a [`Transport`](super::Transport), where the next frame is a Deferred.
//!
//! However a stream is cut into pieces, its frames are the same. What is wrong with a stream ends
//! it: after an error every later frame is that error, since nobody knows where the next one
//! begins.

use std::{error, fmt, io};

use bytes::{Bytes, BytesMut};
use thence_core::Failure;

pub use self::{
    framed::Framed,
    length_prefixed::LengthPrefixed,
    lines::{ByteLines, Lines},
};

mod framed;
mod length_prefixed;
mod lines;

/// Cuts frames off a stream of bytes.
///
/// ```
/// use bytes::BytesMut;
/// use thence_core::Failure;
/// use thence_reactor::net::framing::{Decoder, Frames};
///
/// /// Frames of two bytes.
/// struct Pairs;
///
/// impl Decoder for Pairs {
///     type Item = BytesMut;
///
///     fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<BytesMut>, Failure> {
///         Ok((bytes.len() >= 2).then(|| bytes.split_to(2)))
///     }
/// }
///
/// let mut frames = Frames::new(Pairs);
/// frames.push("abc");
/// assert_eq!(frames.next_frame().unwrap().unwrap(), "ab");
/// assert!(frames.next_frame().unwrap().is_none());
/// frames.push("d");
/// assert_eq!(frames.next_frame().unwrap().unwrap(), "cd");
/// ```
pub trait Decoder: 'static {
    /// A frame.
    type Item: 'static;

    /// Takes the first frame off the front of `bytes`; `None` when it is not whole yet. What was
    /// taken off does not come again; what was left is there the next time, with more behind it.
    ///
    /// # Errors
    ///
    /// When the stream is not what it should be, which ends it.
    fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Self::Item>, Failure>;

    /// As [`decode`](Decoder::decode), when nothing more will come; called until it gives `None`.
    ///
    /// # Errors
    ///
    /// As `decode`; and [`FrameError::UnexpectedEof`] when the rest is not a whole frame.
    fn decode_end(&mut self, bytes: &mut BytesMut) -> Result<Option<Self::Item>, Failure> {
        match self.decode(bytes)? {
            None if !bytes.is_empty() => {
                Err(FrameError::UnexpectedEof { came: bytes.len(), of: None }.into())
            }
            frame => Ok(frame),
        }
    }
}

/// Writes frames as bytes.
pub trait Encoder<Item> {
    /// Appends `item` to `bytes`.
    ///
    /// # Errors
    ///
    /// When it cannot be a frame: it is too long, or the other end would not see it as one.
    fn encode(&mut self, item: Item, bytes: &mut BytesMut) -> Result<(), Failure>;
}

/// What is wrong with a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// To be sent as a line it would end before its end: there is a line break in it, or it ends in
    /// a carriage return.
    NotOneLine,
    /// A line is not UTF-8.
    NotUtf8 {
        /// All of it.
        line: Bytes,
        /// How many of its bytes are UTF-8.
        valid: usize,
    },
    /// A frame is longer than allowed.
    TooLong {
        /// The most bytes it may have.
        limit: usize,
        /// How many it has, when that is known.
        len: Option<u64>,
        /// How many of them had come when that was seen.
        came: usize,
    },
    /// The stream ended inside a frame.
    UnexpectedEof {
        /// How many bytes of the frame had come, with what stands before it.
        came: usize,
        /// How many it should have been, when that is known.
        of: Option<usize>,
    },
}

/// The frames of a stream whose bytes come piece by piece.
///
/// ```
/// use thence_reactor::net::framing::{Frames, Lines};
///
/// let mut frames = Frames::new(Lines::new());
/// frames.push("one\ntw");
/// assert_eq!(frames.next_frame().unwrap().as_deref(), Some("one"));
/// assert_eq!(frames.next_frame().unwrap(), None); // not whole yet
/// frames.push("o\r\nthree");
/// frames.finish();
/// assert_eq!(frames.next_frame().unwrap().as_deref(), Some("two"));
/// assert_eq!(frames.next_frame().unwrap().as_deref(), Some("three"));
/// assert_eq!(frames.next_frame().unwrap(), None); // and none will be
/// ```
///
/// In a [`Protocol`](super::Protocol):
///
/// ```
/// use bytes::Bytes;
/// use thence_reactor::net::{Protocol, Transport, UnixStream, drive, framing::{Frames, Lines}};
///
/// struct Shout(Frames<Lines>);
///
/// impl Shout {
///     fn answer(&mut self, transport: &Transport) {
///         loop {
///             match self.0.next_frame() {
///                 Ok(Some(line)) => transport.send(line.to_uppercase() + "\n"),
///                 Ok(None) => return,
///                 Err(_) => return transport.close(),
///             }
///         }
///     }
/// }
///
/// impl Protocol for Shout {
///     fn received(&mut self, transport: &Transport, bytes: Bytes) {
///         self.0.push(bytes);
///         self.answer(transport);
///     }
///
///     fn finished(&mut self, transport: &Transport) {
///         self.0.finish();
///         self.answer(transport);
///         transport.close();
///     }
/// }
/// # thence_reactor::run(async {
///
/// let (here, there) = UnixStream::pair()?;
/// drive(there, Shout(Frames::new(Lines::new()))).report();
/// here.write("one\ntw").await?;
/// here.write("o").await?;
/// here.shutdown().await?;
/// assert_eq!(here.read_exact(8).await?, "ONE\nTWO\n");
/// # Ok(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct Frames<C> {
    codec: C,
    bytes: BytesMut,
    finished: bool,
    failure: Option<Failure>,
}

impl<C> Frames<C> {
    /// With no bytes yet.
    pub fn new(codec: C) -> Self {
        Frames { codec, bytes: BytesMut::new(), finished: false, failure: None }
    }

    /// The next bytes of the stream.
    pub fn push(&mut self, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        if self.failure.is_some() {
            return;
        }
        match self.bytes.is_empty() {
            // Whoever owns them alone gives them without a copy.
            true => self.bytes = BytesMut::from(bytes),
            false => self.bytes.extend_from_slice(&bytes),
        }
    }

    /// Nothing more will come.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    /// Whether it was said that nothing more will come.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// The bytes that are not yet part of a frame that was given.
    pub fn rest(&self) -> &[u8] {
        &self.bytes
    }

    /// What cuts and writes them.
    pub fn codec(&mut self) -> &mut C {
        &mut self.codec
    }
}

impl<C: Decoder> Frames<C> {
    /// The next frame that is whole, if there is one.
    ///
    /// # Errors
    ///
    /// When the stream is not what it should be, then and ever after.
    pub fn next_frame(&mut self) -> Result<Option<C::Item>, Failure> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let frame = match self.finished {
            false => self.codec.decode(&mut self.bytes),
            true => self.codec.decode_end(&mut self.bytes),
        };
        frame.inspect_err(|failure| {
            self.failure = Some(failure.clone());
            self.bytes = BytesMut::new();
        })
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::NotOneLine => f.write_str(
                "this is not one line: there is a line break in it, or it ends in a carriage \
                 return",
            ),
            FrameError::NotUtf8 { line, valid } => {
                let shown = &line[..line.len().min(SHOWN)];
                let more = if shown.len() < line.len() { ".." } else { "" };
                write!(
                    f,
                    "a line is not UTF-8 after {valid} of its {} bytes: \"{}{more}\"",
                    line.len(),
                    shown.escape_ascii()
                )
            }
            FrameError::TooLong { limit, len: Some(len), came } => {
                write!(f, "a frame has {len} bytes, and {limit} are allowed; {came} had come")
            }
            FrameError::TooLong { limit, len: None, came } => {
                write!(f, "a frame has more than the {limit} bytes allowed; {came} had come")
            }
            FrameError::UnexpectedEof { came, of: Some(of) } => {
                write!(f, "the stream ended inside a frame, after {came} of {of} bytes")
            }
            FrameError::UnexpectedEof { came, of: None } => {
                write!(f, "the stream ended inside a frame, after {came} bytes")
            }
        }
    }
}

impl error::Error for FrameError {}

impl From<FrameError> for io::Error {
    fn from(error: FrameError) -> Self {
        let kind = match &error {
            FrameError::NotOneLine => io::ErrorKind::InvalidInput,
            FrameError::NotUtf8 { .. } | FrameError::TooLong { .. } => io::ErrorKind::InvalidData,
            FrameError::UnexpectedEof { .. } => io::ErrorKind::UnexpectedEof,
        };
        io::Error::new(kind, error)
    }
}

/// How much of a line its error shows.
const SHOWN: usize = 80;
