//! An answer: whether it says one thing only of where it ends, and its body.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use thence_core::Lease;
use thence_reactor::dns::Destination;
use thence_reactor::{Sleep, sleep};

use super::pace::Upload;
use super::pools::Wire;
use super::{ClientError, ClientErrorKind};
use crate::BodyError;

/// Why an answer's head leaves open where its body ends (RFC 9112 §6.3); nothing if it does not.
///
/// Two readers of such a head may see two different ends, and what is behind one of them is another
/// answer. hyper refuses what it cannot read, and reads what others read otherwise.
pub(super) fn framing_fault(
    method: &Method,
    status: StatusCode,
    headers: &HeaderMap,
) -> Option<&'static str> {
    // These have no body whatever they say of it.
    if *method == Method::HEAD || matches!(status.as_u16(), 100..=199 | 204 | 304) {
        return None;
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (lengths.next(), lengths.next(), codings.next(), codings.next()) {
        (None, _, None, _) => None,
        (Some(_), _, Some(_), _) => Some("it has both Content-Length and Transfer-Encoding"),
        (_, Some(_), _, _) => Some("it has more than one Content-Length"),
        (_, _, _, Some(_)) => Some("it has more than one Transfer-Encoding"),
        (Some(length), None, None, _) => {
            let digits = length.as_bytes();
            let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
            (!is_number).then_some("its Content-Length is not a number")
        }
        (None, _, Some(coding), None) => {
            let is_chunked = coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
            (!is_chunked).then_some("its Transfer-Encoding is not `chunked`")
        }
    }
}

/// An answer's body. The lease travels with it and goes back at its end.
pub(super) struct AnswerBody {
    body: Incoming,
    lease: Option<Lease<Wire>>,
    upload: Rc<Upload>,
    to: Destination,
    limit: Duration,
    /// Runs only while somebody reads and nothing comes.
    sleep: Option<Sleep>,
}

impl AnswerBody {
    pub(super) fn new(
        body: Incoming,
        lease: Lease<Wire>,
        upload: Rc<Upload>,
        to: Destination,
        limit: Duration,
    ) -> Self {
        let mut answer = Self { body, lease: Some(lease), upload, to, limit, sleep: None };
        if answer.body.is_end_stream() {
            answer.end();
        }
        answer
    }

    /// All of it was read.
    fn end(&mut self) {
        if let Some(lease) = self.lease.take()
            // Rule 61: behind an upload that still goes on the next request would wait.
            && self.upload.is_whole()
            && !lease.pace.is_blocked()
        {
            Wire::park(lease);
        }
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.limit == Duration::MAX {
            return Poll::Pending;
        }
        let sleep = self.sleep.get_or_insert_with(|| sleep(self.limit));
        if Pin::new(sleep).poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.lease = None;
        let late = ClientError::new(ClientErrorKind::BodyTimeout, Some(&self.to), None);
        Poll::Ready(Some(Err(late.sent(true, false).into())))
    }
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
            return this.poll_late(cx);
        };
        this.sleep = None;
        match &frame {
            None => this.end(),
            Some(Ok(_)) if this.body.is_end_stream() => this.end(),
            Some(Ok(_)) => {}
            Some(Err(_)) => this.lease = None,
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        // Somebody who has as many bytes as were announced asks no further.
        if self.body.is_end_stream() {
            self.end();
        }
    }
}
