//! A body that is as long as its `Content-Length` says, or fails.

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::{Body as _, Frame, SizeHint};

use super::{Body, BodyError, BodyFault, BodyFaultKind};

/// The length that `Content-Length` states, if it is there.
///
/// # Errors
///
/// When it is there more than once, or is no length: the two ends could read different ones.
pub(crate) fn stated_length(headers: &HeaderMap) -> Result<Option<u64>, BodyFault> {
    let mut lines = headers.get_all(CONTENT_LENGTH).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(wrong("there is more than one Content-Length"));
    }
    let digits = line.to_str().unwrap_or_default();
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong(format_args!("Content-Length is {line:?}: expected a number")));
    }
    match digits.parse() {
        Ok(length) => Ok(Some(length)),
        Err(_) => Err(wrong(format_args!("Content-Length is {line:?}: expected a number"))),
    }
}

/// A body that fails when it turns out longer or shorter than it was said to be. What is too much
/// is not passed on, nor is the chunk in which that shows.
pub(crate) struct Measured {
    body: Body,
    stated: u64,
    left: u64,
    is_over: bool,
}

impl Measured {
    /// # Errors
    ///
    /// When the body knows its length, and it is another one.
    pub(crate) fn new(body: Body, stated: u64) -> Result<Self, BodyFault> {
        let is_over = http_body::Body::is_end_stream(&body);
        let known = http_body::Body::size_hint(&body).exact();
        let known = if is_over { Some(0) } else { known };
        if let Some(known) = known.filter(|known| *known != stated) {
            return Err(wrong(format_args!(
                "Content-Length is {stated}, but the body has {known} bytes"
            )));
        }
        let mut measured = Self { body, stated, left: stated, is_over };
        if stated == 0 && !is_over {
            // hyper never asks it for anything: whether it has something is seen now or not at all.
            let mut cx = Context::from_waker(Waker::noop());
            if let Poll::Ready(Some(Err(_))) = Pin::new(&mut measured).poll_frame(&mut cx) {
                return Err(wrong("Content-Length is 0, but the body is not empty"));
            }
        }
        Ok(measured)
    }

    fn fail(&mut self, what: &str) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.is_over = true;
        let stated = self.stated;
        let fault = wrong(format_args!("Content-Length is {stated}, but the body is {what}"));
        Poll::Ready(Some(Err(fault.into())))
    }
}

impl http_body::Body for Measured {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if this.is_over {
            return Poll::Ready(None);
        }
        let frame = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                this.is_over = true;
                return Poll::Ready(Some(Err(error)));
            }
            None if this.left > 0 => return this.fail("shorter"),
            None => {
                this.is_over = true;
                return Poll::Ready(None);
            }
        };
        let len = frame.data_ref().map_or(0, |data| data.len() as u64);
        if len > this.left {
            return this.fail("longer");
        }
        this.left -= len;
        if this.left == 0 && len > 0 {
            // hyper asks no further after this one, so that more would never be noticed. One that
            // has more only later is told that nobody reads it.
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(more))) if more.data_ref().is_some_and(|d| !d.is_empty()) => {
                    return this.fail("longer");
                }
                Poll::Ready(Some(Err(error))) => {
                    this.is_over = true;
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(None) => this.is_over = true,
                Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

fn wrong(message: impl std::fmt::Display) -> BodyFault {
    BodyFault::new(BodyFaultKind::WrongLength, message)
}
