//! Bodies, streamed both ways.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use thence_core::{Deferred, Failure, Trigger, flow};

/// The body of a request or a response.
///
/// It is made of bytes, of a [`Body::channel`], or of any `http_body::Body`; it is read chunk by
/// chunk, or whole up to a limit. A body that breaks off ends in an error, never in a clean end.
pub struct Body(Inner);

enum Inner {
    Bytes(Option<Bytes>),
    Stream(Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError>>>),
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
        Self(Inner::Stream(Box::pin(body.map_err(Into::into))))
    }

    /// A body that is written while it is sent. At most `capacity` bytes wait (a chunk may go over
    /// it once); then [`BodySender::send`] waits too.
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
        let shared = Rc::new(RefCell::new(Channel { capacity, ..Channel::default() }));
        (BodySender(shared.clone()), Self(Inner::Stream(Box::pin(Receiver(shared)))))
    }

    /// The next chunk; `None` at the end. Trailers are left out.
    ///
    /// # Errors
    ///
    /// The body broke off.
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

    /// All of it, if it is at most `limit` bytes. Fails when it is more, or breaks off.
    #[track_caller]
    pub fn collect(mut self, limit: usize) -> Deferred<Bytes> {
        flow(async move {
            let mut whole = BytesMut::new();
            while let Some(chunk) = self.chunk().await? {
                if whole.len() + chunk.len() > limit {
                    return Err(Failure::msg(format_args!(
                        "the body is longer than {limit} bytes"
                    )));
                }
                if whole.is_empty() && http_body::Body::is_end_stream(&self) {
                    return Ok(chunk);
                }
                whole.extend_from_slice(&chunk);
            }
            Ok(whole.freeze())
        })
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
            Inner::Stream(stream) => stream.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Bytes(bytes) => bytes.is_none(),
            Inner::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Bytes(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Inner::Stream(stream) => stream.size_hint(),
        }
    }
}

/// Writes a [`Body::channel`]. Dropped without [`BodySender::finish`], the body breaks off.
pub struct BodySender(Rc<RefCell<Channel>>);

#[derive(Default)]
struct Channel {
    chunks: VecDeque<Bytes>,
    waiting: usize,
    capacity: usize,
    end: Option<End>,
    reader: Option<Waker>,
    /// Whoever waits for room.
    writers: Vec<Trigger<()>>,
    reader_left: bool,
}

enum End {
    BrokenOff(Option<String>),
    Finished,
}

impl BodySender {
    /// Adds a chunk; ends when there is room for another. Fails when the reader has left.
    #[track_caller]
    pub fn send(&mut self, chunk: impl Into<Bytes>) -> Deferred<()> {
        let chunk = chunk.into();
        let mut channel = self.0.borrow_mut();
        if channel.reader_left {
            return Deferred::err(Failure::msg("nobody reads this body any more"));
        }
        channel.waiting += chunk.len();
        if !chunk.is_empty() {
            channel.chunks.push_back(chunk);
        }
        let reader = channel.reader.take();
        let full = channel.waiting >= channel.capacity;
        let (trigger, room) = Deferred::new();
        let at_once = if full {
            channel.writers.push(trigger);
            None
        } else {
            Some(trigger)
        };
        drop(channel);
        if let Some(reader) = reader {
            reader.wake();
        }
        if let Some(trigger) = at_once {
            trigger.fire(());
        }
        room
    }

    /// Ends the body well.
    pub fn finish(self) {
        self.end(End::Finished);
    }

    /// Ends the body with an error: the other side sees it cut short.
    pub fn fail(self, why: impl fmt::Display) {
        self.end(End::BrokenOff(Some(why.to_string())));
    }

    /// Whether the reader has gone.
    pub fn reader_left(&self) -> bool {
        self.0.borrow().reader_left
    }

    fn end(&self, end: End) {
        let mut channel = self.0.borrow_mut();
        if channel.end.is_some() {
            return;
        }
        channel.end = Some(end);
        let reader = channel.reader.take();
        drop(channel);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Drop for BodySender {
    fn drop(&mut self) {
        self.end(End::BrokenOff(None));
    }
}

impl fmt::Debug for BodySender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodySender").field("waiting", &self.0.borrow().waiting).finish()
    }
}

struct Receiver(Rc<RefCell<Channel>>);

impl http_body::Body for Receiver {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut channel = self.0.borrow_mut();
        if let Some(chunk) = channel.chunks.pop_front() {
            channel.waiting -= chunk.len();
            let room = channel.waiting < channel.capacity;
            let writers = if room { std::mem::take(&mut channel.writers) } else { Vec::new() };
            drop(channel);
            writers.into_iter().for_each(|writer| writer.fire(()));
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        let end = match &mut channel.end {
            None => {
                channel.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Some(End::Finished) => None,
            Some(End::BrokenOff(why)) => {
                let why = why.take();
                let text = why.unwrap_or_else(|| "its writer was dropped before the end".into());
                Some(Err(BodyError::from(text)))
            }
        };
        Poll::Ready(end)
    }

    fn is_end_stream(&self) -> bool {
        let channel = self.0.borrow();
        channel.chunks.is_empty() && matches!(channel.end, Some(End::Finished))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut channel = self.0.borrow_mut();
        channel.reader_left = true;
        channel.chunks.clear();
        let writers = std::mem::take(&mut channel.writers);
        drop(channel);
        for writer in writers {
            writer.fail(Failure::msg("nobody reads this body any more"));
        }
    }
}

/// A body that says how it ended to whoever made it.
pub(crate) struct Watched<F: FnMut(BodyEnd)> {
    body: Body,
    /// Bytes that have passed, and how many there were said to be.
    passed: u64,
    expected: Option<u64>,
    tell: Option<F>,
}

/// How a watched body has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum BodyEnd {
    Broken,
    Dropped,
    Whole,
}

impl<F: FnMut(BodyEnd)> Watched<F> {
    pub(crate) fn new(body: Body, expected: Option<u64>, tell: F) -> Self {
        let expected = expected.or(http_body::Body::size_hint(&body).exact());
        let mut watched = Self { body, passed: 0, expected, tell: Some(tell) };
        if http_body::Body::is_end_stream(&watched.body) {
            watched.tell(BodyEnd::Whole);
        }
        watched
    }

    fn tell(&mut self, end: BodyEnd) {
        if let Some(mut tell) = self.tell.take() {
            tell(end);
        }
    }
}

impl<F: FnMut(BodyEnd) + Unpin> http_body::Body for Watched<F> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            None => this.tell(BodyEnd::Whole),
            Some(Err(_)) => this.tell(BodyEnd::Broken),
            Some(Ok(frame)) => {
                this.passed += frame.data_ref().map_or(0, |data| data.len() as u64);
                if this.body.is_end_stream() {
                    this.tell(BodyEnd::Whole);
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<F: FnMut(BodyEnd)> Drop for Watched<F> {
    fn drop(&mut self) {
        // hyper asks no further once it has as many bytes as were announced.
        let whole = self.expected == Some(self.passed);
        self.tell(if whole { BodyEnd::Whole } else { BodyEnd::Dropped });
    }
}
