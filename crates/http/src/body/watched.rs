//! A body that says how it ended.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{Body, BodyError};

/// A body that says how it ended to whoever made it.
pub(crate) struct Watched<F: FnMut(BodyEnd)> {
    body: Body,
    /// Bytes that have passed, and how many there were said to be.
    passed: u64,
    expected: Option<u64>,
    tell: Option<F>,
    /// An error that has come and is handed on when it is asked for again.
    held: Option<BodyError>,
}

/// How a watched body has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum BodyEnd {
    Broken,
    Dropped,
    Whole,
}

impl<F: FnMut(BodyEnd)> Watched<F> {
    pub(crate) fn new(body: Body, tell: F) -> Self {
        let expected = http_body::Body::size_hint(&body).exact();
        let mut watched = Self { body, passed: 0, expected, tell: Some(tell), held: None };
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
        if let Some(error) = this.held.take() {
            this.tell(BodyEnd::Broken);
            return Poll::Ready(Some(Err(error)));
        }
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if let Some(Err(error)) = frame {
            // hyper closes at once, over a head that it has not sent: the other side would see no
            // answer where there was one that broke off. Meanwhile it sends.
            this.held = Some(error);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match &frame {
            None => this.tell(BodyEnd::Whole),
            Some(Err(_)) => {}
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
