//! Bodies, streamed both ways.

mod channel;
mod fault;
mod measured;
mod watched;

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use thence_core::{Deferred, Failure, flow};

pub use self::channel::BodySender;
pub use self::fault::{BodyFault, BodyFaultKind};
pub(crate) use self::measured::{Measured, stated_length};
pub(crate) use self::watched::{BodyEnd, Watched};

/// The body of a request or a response.
///
/// It is made of bytes, of a [`Body::channel`], or of any `http_body::Body`; it is read chunk by
/// chunk, or whole up to a limit. A body that breaks off ends in an error, never in a clean end.
pub struct Body(Inner);

enum Inner {
    Bytes(Option<Bytes>),
    Stream {
        stream: Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError>>>,
        /// Whether it is a request's to a server.
        is_upload: bool,
    },
}

/// Why a body could not be read to its end.
pub type BodyError = Box<dyn Error + Send + Sync>;

impl Body {
    /// A body of no bytes.
    pub fn empty() -> Self {
        Self(Inner::Bytes(None))
    }

    /// Any other body. It keeps its length, if it knows one.
    pub fn wrap<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + 'static,
        B::Error: Into<BodyError>,
    {
        Self::stream(body.map_err(Into::into))
    }

    /// A body that is written while it is sent. At most `capacity` bytes wait (a chunk may go over
    /// it once); then [`BodySender::send`] waits too. With 0, each waits until it was read.
    ///
    /// ```
    /// use thence_core::flow;
    /// use thence_http::Body;
    ///
    /// let (mut sender, body) = Body::channel(1024);
    /// flow(async move {
    ///     sender.send("one ").await?;
    ///     sender.send("two").await?;
    ///     sender.finish();
    ///     Ok(())
    /// })
    /// .report();
    /// body.collect(64).inspect(|bytes| assert_eq!(bytes, "one two")).report();
    /// ```
    pub fn channel(capacity: usize) -> (BodySender, Self) {
        let (sender, receiver) = channel::new(capacity);
        (sender, Self::stream(receiver))
    }

    /// The next chunk; `None` at the end. Trailers are left out.
    ///
    /// # Errors
    ///
    /// The body broke off; that of a request to a server with a [`BodyFault`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            match self.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(Failure::boxed(error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// All of it, if it is at most `limit` bytes. Fails when it breaks off, and with a [`BodyFault`]
    /// when it is more.
    #[track_caller]
    pub fn collect(mut self, limit: usize) -> Deferred<Bytes> {
        let is_upload = matches!(self.0, Inner::Stream { is_upload: true, .. });
        flow(async move {
            let too_long = || {
                let message = format_args!("the body is longer than {limit} bytes").to_string();
                Failure::from(BodyFault::new(BodyFaultKind::TooLong, message).upload(is_upload))
            };
            // What is announced need not come first.
            if http_body::Body::size_hint(&self).lower() > limit as u64 {
                return Err(too_long());
            }
            let mut whole = BytesMut::new();
            while let Some(chunk) = self.chunk().await? {
                if chunk.len() > limit - whole.len() {
                    return Err(too_long());
                }
                if whole.is_empty() && http_body::Body::is_end_stream(&self) {
                    return Ok(chunk);
                }
                whole.extend_from_slice(&chunk);
            }
            Ok(whole.freeze())
        })
    }

    /// The body of a request to a server.
    pub(crate) fn upload(
        body: impl http_body::Body<Data = Bytes, Error = BodyError> + 'static,
    ) -> Self {
        Self(Inner::Stream { stream: Box::pin(body), is_upload: true })
    }

    fn stream(body: impl http_body::Body<Data = Bytes, Error = BodyError> + 'static) -> Self {
        Self(Inner::Stream { stream: Box::pin(body), is_upload: false })
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        let bytes = bytes.into();
        Self(Inner::Bytes((!bytes.is_empty()).then_some(bytes)))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("size", &http_body::Body::size_hint(self)).finish()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.get_mut().0 {
            Inner::Bytes(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Inner::Stream { stream, .. } => stream.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Bytes(bytes) => bytes.is_none(),
            Inner::Stream { stream, .. } => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Bytes(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Inner::Stream { stream, .. } => stream.size_hint(),
        }
    }
}
