//! Bodies that can be cut while nothing of them moves: those of a request whose session has ended.

use std::{
    cell::{Cell, RefCell},
    error::Error,
    fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use thence::http::{Body, BodyError};

/// Cuts a request's body, its answer's, or both, and knows whether they move. Cloning it gives
/// another handle to the same.
#[derive(Clone, Default)]
pub struct Switch(Rc<State>);

#[derive(Default)]
struct State {
    cut: Cell<bool>,
    moved: Cell<bool>,
    /// The request's body and the answer's.
    sides: [Side; 2],
    told: RefCell<Option<Box<dyn FnOnce()>>>,
}

#[derive(Default)]
struct Side {
    /// Nothing while it is polled, once it has ended, and once it is cut.
    body: RefCell<Option<Body>>,
    waker: RefCell<Option<Waker>>,
}

impl Switch {
    /// A switch that tells when it cuts, once.
    pub fn new(told: impl FnOnce() + 'static) -> Self {
        let switch = Self::default();
        switch.0.told.replace(Some(Box::new(told)));
        switch
    }

    /// The client's body, which can be cut.
    pub fn request(&self, body: Body) -> Body {
        self.wrap(body, 0)
    }

    /// The answer's body, which can be cut.
    pub fn answer(&self, body: Body) -> Body {
        self.wrap(body, 1)
    }

    /// Ends the bodies, whether somebody reads them now or not: what they held is dropped here.
    pub fn cut(&self) {
        if self.0.cut.replace(true) {
            return;
        }
        let bodies: Vec<_> = self.0.sides.iter().map(|side| side.body.take()).collect();
        let wakers: Vec<_> = self.0.sides.iter().map(|side| side.waker.take()).collect();
        // Told first: dropping the bodies ends what reads them.
        if let Some(told) = self.0.told.take() {
            told();
        }
        drop(bodies);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Whether something has moved since this was asked last.
    pub fn has_moved(&self) -> bool {
        self.0.moved.replace(false)
    }

    fn wrap(&self, body: Body, side: usize) -> Body {
        if http_body::Body::is_end_stream(&body) {
            return body;
        }
        // What is wrapped after the cut ends in it.
        let body = Some(body).filter(|_| !self.0.cut.get());
        self.0.sides[side].body.replace(body);
        Body::wrap(Cut { switch: self.clone(), side, is_over: false })
    }
}

impl fmt::Debug for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Switch").field("cut", &self.0.cut.get()).finish_non_exhaustive()
    }
}

/// A body whose other end is at a [`Switch`].
struct Cut {
    switch: Switch,
    side: usize,
    is_over: bool,
}

impl Cut {
    fn side(&self) -> &Side {
        &self.switch.0.sides[self.side]
    }
}

impl http_body::Body for Cut {
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
        let body = this.side().body.take();
        // Whatever the body's code does meanwhile finds nothing borrowed.
        let frame = body.map(|mut body| {
            let frame = Pin::new(&mut body).poll_frame(cx);
            (frame, body)
        });
        if this.switch.0.cut.get() {
            this.is_over = true;
            return Poll::Ready(Some(Err(Box::new(SessionEnded))));
        }
        let Some((frame, body)) = frame else { return Poll::Ready(None) };
        match &frame {
            Poll::Pending => {
                this.side().body.replace(Some(body));
                let waker = this.side().waker.replace(Some(cx.waker().clone()));
                drop(waker);
            }
            Poll::Ready(Some(Ok(_))) => {
                this.switch.0.moved.set(true);
                this.side().body.replace(Some(body));
            }
            Poll::Ready(Some(Err(_)) | None) => this.is_over = true,
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        let body = self.side().body.borrow();
        self.is_over || body.as_ref().is_some_and(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.side()
            .body
            .borrow()
            .as_ref()
            .map_or_else(SizeHint::default, http_body::Body::size_hint)
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        // The switch may outlive it, and must not keep the upstream's connection.
        let (body, waker) = (self.side().body.take(), self.side().waker.take());
        drop((body, waker));
    }
}

/// Why a body was cut.
#[derive(Clone, Copy, Debug)]
pub struct SessionEnded;

impl fmt::Display for SessionEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("its session has ended")
    }
}

impl Error for SessionEnded {}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        task::Wake,
    };

    use http_body::Body as _;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    fn poll(body: &mut Body, woken: &Arc<Woken>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let waker = woken.clone().into();
        Pin::new(body).poll_frame(&mut Context::from_waker(&waker))
    }

    #[test]
    fn a_body_that_is_not_cut_is_handed_on_as_it_is() {
        let switch = Switch::default();
        let mut body = switch.answer("abc".into());
        assert_eq!(body.size_hint().exact(), Some(3));
        assert!(!switch.has_moved());
        let frame = poll(&mut body, &Arc::default());
        assert!(
            matches!(frame, Poll::Ready(Some(Ok(frame))) if frame.data_ref().unwrap() == "abc")
        );
        assert!(body.is_end_stream());
        assert!(switch.has_moved() && !switch.has_moved());
    }

    #[test]
    fn a_body_is_cut_while_nothing_moves() {
        let told = Rc::new(Cell::new(false));
        let tell = told.clone();
        let switch = Switch::new(move || tell.set(true));
        let (sender, inner) = Body::channel(10);
        let mut body = switch.answer(inner);
        let woken = Arc::<Woken>::default();
        assert!(poll(&mut body, &woken).is_pending());
        switch.cut();
        assert!(told.get() && woken.0.load(Ordering::Relaxed));
        assert!(sender.reader_left(), "it is let go of at once");
        let Poll::Ready(Some(Err(error))) = poll(&mut body, &woken) else { panic!("not cut") };
        assert!(error.is::<SessionEnded>());
        assert!(matches!(poll(&mut body, &woken), Poll::Ready(None)));
        sender.finish();
    }

    #[test]
    fn a_body_that_nobody_reads_is_let_go_of_all_the_same() {
        let switch = Switch::default();
        let (sender, inner) = Body::channel(10);
        let body = switch.request(inner);
        switch.cut();
        assert!(sender.reader_left());
        drop(body);
        sender.finish();
    }

    #[test]
    fn a_body_that_is_dropped_is_not_kept_by_its_switch() {
        let switch = Switch::default();
        let (sender, inner) = Body::channel(10);
        drop(switch.answer(inner));
        assert!(sender.reader_left());
        sender.finish();
        switch.cut();
    }
}
