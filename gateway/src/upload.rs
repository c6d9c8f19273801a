//! A client's body on its way to the upstream.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use thence::http::{Body, BodyError, BodyFault, BodyFaultKind};

/// A body that tells what is wrong with it, and ends where its data do: a client could forge in the
/// fields behind it what was removed from its head (rule 26).
pub struct Upload {
    inner: Body,
    failed: Option<Box<dyn FnOnce(BodyFaultKind)>>,
}

impl Upload {
    /// `inner`; tells when it fails, once.
    pub fn new(inner: Body, failed: impl FnOnce(BodyFaultKind) + 'static) -> Self {
        Self { inner, failed: Some(Box::new(failed)) }
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            let frame = ready!(Pin::new(&mut this.inner).poll_frame(cx));
            match &frame {
                Some(Ok(frame)) if frame.is_trailers() => continue,
                Some(Err(error)) => {
                    // What is no fault of a body (its session has ended) is not its client's.
                    let fault = error.downcast_ref::<BodyFault>().map(BodyFault::kind);
                    if let (Some(kind), Some(failed)) = (fault, this.failed.take()) {
                        failed(kind);
                    }
                }
                _ => {}
            }
            return Poll::Ready(frame);
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("inner", &self.inner).finish_non_exhaustive()
    }
}
