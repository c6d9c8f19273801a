//! The upstream's body on its way to the client, and what becomes of it when the client leaves.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use thence::{DeferredExt as _, flow, has_reactor};

/// How a relayed body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// The upstream broke it off; the client sees that too (rule 59).
    Broken,
    /// The client left and its request was safe: the upstream's connection was closed.
    Cancelled,
    /// The client left, and the upstream's work came to its end all the same.
    Drained,
    /// All of it was handed on.
    Finished,
}

/// A body that is handed on frame by frame, as fast as the client takes it.
pub struct Relayed<B: Body<Data = Bytes> + Unpin + 'static> {
    /// Nothing once it has ended.
    inner: Option<B>,
    safe: bool,
    told: Option<Box<dyn FnOnce(Ending)>>,
}

impl<B: Body<Data = Bytes> + Unpin + 'static> Relayed<B> {
    /// Hands `inner` on and tells how that ended, once. The answer to a `safe` request is cut when
    /// the client leaves; of any other, [`DRAINED`] bytes are read first so that the upstream is
    /// not cut while it works.
    pub fn new(inner: B, safe: bool, told: impl FnOnce(Ending) + 'static) -> Self {
        let mut body = Self { inner: Some(inner), safe, told: Some(Box::new(told)) };
        // What has no body is never asked for one.
        if body.inner.as_ref().is_some_and(Body::is_end_stream) {
            body.end(Ending::Finished);
        }
        body
    }

    fn end(&mut self, ending: Ending) {
        self.inner = None;
        if let Some(told) = self.told.take() {
            told(ending);
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin + 'static> Body for Relayed<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(&mut *inner).poll_frame(cx));
        match &frame {
            // The last frame may be known to be the last: then nobody asks for another.
            Some(Ok(_)) if inner.is_end_stream() => this.end(Ending::Finished),
            Some(Ok(_)) => {}
            Some(Err(_)) => this.end(Ending::Broken),
            None => this.end(Ending::Finished),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B: Body<Data = Bytes> + Unpin + 'static> Drop for Relayed<B> {
    fn drop(&mut self) {
        let (Some(inner), Some(told)) = (self.inner.take(), self.told.take()) else { return };
        // With the reactor gone there is nothing left to read it by.
        if self.safe || !has_reactor() {
            drop(inner);
            told(Ending::Cancelled);
        } else {
            drain(inner, move || told(Ending::Drained));
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin + 'static> fmt::Debug for Relayed<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relayed")
            .field("ended", &self.inner.is_none())
            .field("safe", &self.safe)
            .finish_non_exhaustive()
    }
}

/// Reads a body nobody waits for, up to [`DRAINED`] bytes and [`PATIENCE`], and then says so.
pub fn drain(mut body: impl Body<Data = Bytes> + Unpin + 'static, then: impl FnOnce() + 'static) {
    let reading = async move {
        let mut left = DRAINED;
        while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            let Some(rest) = left.checked_sub(length) else { break };
            left = rest;
        }
        Ok(())
    };
    flow(reading)
        .named("drain an answer nobody waits for")
        .timeout(PATIENCE)
        // However it ended, the connection is the pool's affair, and the request is over.
        .recover(|_too_slow| ())
        .finally(then)
        .done(|()| {});
}

/// Bytes of an answer that are read though nobody waits for it.
pub const DRAINED: usize = 64 * 1024;
/// How long an answer nobody waits for may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::{cell::Cell, collections::VecDeque, convert::Infallible, rc::Rc};

    use thence::{Reactor, driver::manual::Manual};

    use super::*;

    /// Frames of the given sizes, then the end, or nothing more for ever.
    struct Frames {
        sizes: VecDeque<usize>,
        endless: bool,
        taken: Rc<Cell<usize>>,
        dropped: Rc<Cell<bool>>,
    }

    impl Frames {
        fn new(sizes: &[usize]) -> Self {
            let sizes = sizes.iter().copied().collect();
            Self { sizes, endless: false, taken: Rc::default(), dropped: Rc::default() }
        }
    }

    impl Body for Frames {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.sizes.pop_front() {
                Some(size) => {
                    self.taken.set(self.taken.get() + size);
                    Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![0; size])))))
                }
                None if self.endless => {
                    // Somebody might wake it one day.
                    WAKERS.with_borrow_mut(|wakers| wakers.push(cx.waker().clone()));
                    Poll::Pending
                }
                None => Poll::Ready(None),
            }
        }
    }

    thread_local! {
        static WAKERS: std::cell::RefCell<Vec<std::task::Waker>> = const { std::cell::RefCell::new(Vec::new()) };
    }

    impl Drop for Frames {
        fn drop(&mut self) {
            self.dropped.set(true);
        }
    }

    fn told() -> (Rc<Cell<Option<Ending>>>, impl FnOnce(Ending) + 'static) {
        let slot = Rc::new(Cell::new(None));
        let told = slot.clone();
        (slot, move |ending| assert_eq!(told.replace(Some(ending)), None, "told once"))
    }

    fn poll(body: &mut (impl Body<Data = Bytes> + Unpin)) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        matches!(Pin::new(body).poll_frame(&mut cx), Poll::Ready(Some(Ok(_))))
    }

    fn world() -> (Reactor, Manual) {
        let world = Manual::new();
        (Reactor::builder().driver(world.clone()).build().unwrap(), world)
    }

    #[test]
    fn a_body_read_to_its_end_is_finished() {
        let (ending, tell) = told();
        let mut body = Relayed::new(Frames::new(&[3, 4]), true, tell);
        assert!(poll(&mut body) && poll(&mut body));
        assert_eq!(ending.get(), None);
        assert!(!poll(&mut body));
        assert_eq!(ending.get(), Some(Ending::Finished));
        drop(body);
        assert_eq!(ending.get(), Some(Ending::Finished));
    }

    #[test]
    fn a_safe_answer_is_cut_when_the_client_leaves() {
        let (ending, tell) = told();
        let frames = Frames::new(&[3, 4]);
        let dropped = frames.dropped.clone();
        let mut body = Relayed::new(frames, true, tell);
        poll(&mut body);
        drop(body);
        assert_eq!(ending.get(), Some(Ending::Cancelled));
        assert!(dropped.get());
    }

    #[test]
    fn any_other_answer_is_read_on() {
        let (_reactor, _) = world();
        let (ending, tell) = told();
        let frames = Frames::new(&[1000, 2000]);
        let taken = frames.taken.clone();
        drop(Relayed::new(frames, false, tell));
        assert_eq!(ending.get(), Some(Ending::Drained));
        assert_eq!(taken.get(), 3000);
    }

    #[test]
    fn a_large_answer_is_read_as_far_as_the_limit() {
        let (_reactor, _) = world();
        let (ending, tell) = told();
        let frames = Frames::new(&[40_000; 10]);
        let (taken, dropped) = (frames.taken.clone(), frames.dropped.clone());
        drop(Relayed::new(frames, false, tell));
        assert_eq!(ending.get(), Some(Ending::Drained));
        assert_eq!(taken.get(), 80_000, "the frame that crosses it is the last");
        assert!(dropped.get(), "and then the connection is closed");
    }

    #[test]
    fn an_answer_that_never_ends_is_given_up() {
        let (mut reactor, world) = world();
        let (ending, tell) = told();
        let mut frames = Frames::new(&[10]);
        frames.endless = true;
        let dropped = frames.dropped.clone();
        drop(Relayed::new(frames, false, tell));
        assert_eq!(ending.get(), None);
        world.advance(PATIENCE + Duration::from_millis(2));
        reactor.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(ending.get(), Some(Ending::Drained));
        assert!(dropped.get());
        WAKERS.take();
    }
}
