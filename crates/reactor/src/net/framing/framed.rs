//! Frames on a transport.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use thence_core::{Canceller, Deferred, Failure, Outcome, Stop, Trigger, Wait};

use super::{Decoder, Encoder, Frames};
use crate::{
    driver::RECV_MAX,
    net::{
        Transport,
        handout::{self, Handout, Waiter},
    },
};

/// A transport whose bytes are frames both ways. Also a `Stream`.
///
/// * Several may wait for a frame at once; each gets one, in the order they asked. A frame that
///   came for somebody who left, or was cancelled, goes to whoever is next.
/// * It reads only while somebody waits for a frame, which is the back-pressure.
/// * When the stream is not what it should be, or the connection breaks, every frame before that is
///   still given; then that is the end of every [`next`](Framed::next). Sending goes on, so that the
///   other end can be told.
/// * Dropped, the connection closes when what was sent is out and nobody waits for a frame.
///
/// ```
/// use thence_core::flow;
/// use thence_reactor::net::{TcpListener, TcpStream, framing::{Framed, Lines}};
/// # thence_reactor::run(async {
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let client = Framed::new(TcpStream::connect(listener.local_addr()).await?, Lines::new());
/// let (stream, _) = listener.accept().await?;
/// flow(async move {
///     let lines = Framed::new(stream, Lines::new());
///     while let Some(line) = lines.next().await? {
///         lines.send(line.to_uppercase()).await?;
///     }
///     Ok(())
/// })
/// .report();
///
/// client.send("hello").await?;
/// assert_eq!(client.next().await?.as_deref(), Some("HELLO"));
/// client.shutdown().await?;
/// assert_eq!(client.next().await?, None);
/// # Ok(()) }).unwrap();
/// ```
pub struct Framed<C: Decoder> {
    /// Of the `Stream`; left before the rest is let go of.
    wait: Option<Wait<Option<C::Item>, Failure>>,
    inner: Rc<Inner<C>>,
}

struct Inner<C: Decoder> {
    transport: Transport,
    this: Weak<Self>,
    state: RefCell<State<C>>,
}

struct State<C: Decoder> {
    /// None while the codec is at work.
    frames: Option<Frames<C>>,
    handout: Handout<C::Item, Waiting<C::Item>>,
    /// Why no more frames come.
    end: Option<End>,
    reading: Option<Canceller>,
    /// The read that is pending was asked to end, since nobody waited.
    quits: bool,
}

/// Nothing more will come.
#[derive(Clone)]
enum End {
    Failed(Failure),
    Finished,
}

struct Waiting<T: 'static> {
    trigger: Trigger<Option<T>>,
    /// It tells when its wait is over.
    tells: Cell<bool>,
}

/// What the frames that have come have for a waiter.
enum Cut<T> {
    End(End),
    Frame(T),
    /// It needs more bytes.
    More,
    Panicked(Box<dyn Any + Send>),
}

impl<C: Decoder> Framed<C> {
    /// The frames of `stream`.
    pub fn new(stream: impl Into<Transport>, codec: C) -> Self {
        let inner = Rc::new_cyclic(|this| Inner {
            transport: stream.into(),
            this: this.clone(),
            state: RefCell::new(State {
                frames: Some(Frames::new(codec)),
                handout: Handout::default(),
                end: None,
                reading: None,
                quits: false,
            }),
        });
        Framed { wait: None, inner }
    }

    /// The next frame; `None` when the stream has ended after the last one.
    ///
    /// # Errors
    ///
    /// The Deferred fails when the stream is not what it should be
    /// ([`FrameError`](super::FrameError), or what the decoder says), also when it ends inside a
    /// frame; and when the connection is broken. So does every one after it.
    #[track_caller]
    pub fn next(&self) -> Deferred<Option<C::Item>> {
        let (trigger, deferred) = Deferred::new();
        let waiting = Waiting { trigger, tells: Cell::new(false) };
        self.inner.state.borrow_mut().handout.join(waiting);
        self.inner.serve();
        deferred
    }

    /// Sends one frame, as [`Transport::write`] sends its bytes.
    ///
    /// # Errors
    ///
    /// The Deferred fails when `item` cannot be a frame, and nothing is sent then; and as that of
    /// `write` does.
    #[track_caller]
    pub fn send<T>(&self, item: T) -> Deferred<()>
    where
        C: Encoder<T>,
    {
        let mut bytes = BytesMut::new();
        let encode = |frames: &mut Frames<C>| frames.codec().encode(item, &mut bytes);
        match self.inner.with_frames(encode) {
            Some(Ok(Ok(()))) => self.inner.transport.write(bytes),
            Some(Ok(Err(failure))) => Deferred::err(failure),
            Some(Err(panic)) => resume_unwind(panic),
            None => Deferred::err(Failure::msg("a codec cannot send while it is at work")),
        }
    }

    /// Says that nothing more will be sent, after what was sent before. Receiving goes on.
    ///
    /// # Errors
    ///
    /// The Deferred fails when the connection is broken.
    #[track_caller]
    pub fn shutdown(&self) -> Deferred<()> {
        self.inner.transport.shutdown()
    }

    /// What carries the frames. What it has read already is not there any more: leave its reading
    /// half alone.
    pub fn transport(&self) -> &Transport {
        &self.inner.transport
    }
}

impl<C: Decoder> Inner<C> {
    /// Gives what is there to whoever waits, in order, and reads on when that is not enough.
    fn serve(self: &Rc<Self>) {
        self.stop_left();
        loop {
            let mut state = self.state.borrow_mut();
            let pair = state.handout.next_pair();
            let wanted = state.handout.has_waiters();
            drop(state);
            if let Some((place, frame, waiting)) = pair {
                let this = self.this.clone();
                waiting.give(frame, move |frame| {
                    // Without a connection nobody can ask for it.
                    let Some(this) = this.upgrade() else { return };
                    this.state.borrow_mut().handout.put_back(place, frame);
                    this.serve();
                });
            } else if !wanted {
                return;
            } else {
                match self.cut() {
                    Some(Cut::End(end)) => self.end(end),
                    Some(Cut::Frame(frame)) => self.state.borrow_mut().handout.push(frame),
                    Some(Cut::More) => return self.read(),
                    Some(Cut::Panicked(payload)) => self.panicked(payload),
                    // Whoever has it comes back here.
                    None => return,
                }
            }
        }
    }

    /// Takes the next frame off what has come; `None` while that is being done already.
    fn cut(&self) -> Option<Cut<C::Item>> {
        if let Some(end) = &self.state.borrow().end {
            return Some(Cut::End(end.clone()));
        }
        let cut = self.with_frames(|frames| (frames.next_frame(), frames.is_finished()))?;
        Some(match cut {
            Ok((Ok(Some(frame)), _)) => Cut::Frame(frame),
            Ok((Ok(None), false)) => Cut::More,
            Ok((Ok(None), true)) => Cut::End(End::Finished),
            Ok((Err(failure), _)) => Cut::End(End::Failed(failure)),
            Err(payload) => Cut::Panicked(payload),
        })
    }

    /// Runs `f`, which may be a user's, outside of any borrow; `None` inside of itself.
    fn with_frames<R>(
        &self,
        f: impl FnOnce(&mut Frames<C>) -> R,
    ) -> Option<Result<R, Box<dyn Any + Send>>> {
        let mut frames = self.state.borrow_mut().frames.take()?;
        let result = catch_unwind(AssertUnwindSafe(|| f(&mut frames)));
        self.state.borrow_mut().frames = Some(frames);
        Some(result)
    }

    fn end(&self, end: End) {
        let mut state = self.state.borrow_mut();
        let waiters = state.handout.take_waiters();
        state.end = Some(end.clone());
        drop(state);
        for waiting in waiters {
            match &end {
                End::Failed(failure) => waiting.trigger.fail(failure.clone()),
                End::Finished => waiting.trigger.fire(None),
            }
        }
    }

    /// The first to wait has the panic, and those after it learn of it.
    fn panicked(&self, payload: Box<dyn Any + Send>) {
        let mut state = self.state.borrow_mut();
        state.end = Some(End::Failed(Failure::msg("the decoder of these frames panicked")));
        let first = state.handout.pop_waiter();
        drop(state);
        if let Some(waiting) = first {
            waiting.trigger.settle(Outcome::Stop(Stop::panicked(payload)));
        }
    }

    /// Has a read pending, and those who wait for it tell when they do no longer.
    fn read(self: &Rc<Self>) {
        let state = self.state.borrow();
        for waiting in state.handout.waiters() {
            if !waiting.tells.replace(true) {
                let this = self.this.clone();
                waiting.when_gone(move || {
                    this.upgrade().into_iter().for_each(|this| this.stop_left());
                });
            }
        }
        if state.reading.is_some() {
            return;
        }
        drop(state);
        let read = self.transport.read(RECV_MAX);
        self.state.borrow_mut().reading = Some(read.canceller());
        let this = self.clone();
        read.settled().done(move |outcome| this.received(outcome));
    }

    fn received(self: &Rc<Self>, outcome: Outcome<Bytes, Failure>) {
        let mut state = self.state.borrow_mut();
        state.reading = None;
        let quits = std::mem::take(&mut state.quits);
        match outcome {
            Outcome::Ok(bytes) => {
                drop(state);
                // Nobody holds the codec: this is a callback of its own.
                self.with_frames(|frames| match bytes.is_empty() {
                    false => frames.push(bytes),
                    true => frames.finish(),
                });
            }
            Outcome::Err(failure) => {
                state.end = Some(End::Failed(failure));
                drop(state);
            }
            Outcome::Stop(_) if quits => drop(state),
            Outcome::Stop(_) => {
                // The reactor is gone.
                let waiters = state.handout.take_waiters();
                drop(state);
                waiters.into_iter().for_each(Waiting::stop);
                return;
            }
        }
        self.serve();
    }

    /// Ends who no longer waits, and the read that was for nobody else.
    fn stop_left(&self) {
        let mut state = self.state.borrow_mut();
        let left = state.handout.take_left();
        let idle = state.reading.clone().filter(|_| !state.handout.has_waiters());
        state.quits |= idle.is_some();
        drop(state);
        left.into_iter().for_each(Waiting::stop);
        // What has come for it all the same is there for the next.
        idle.into_iter().for_each(|read| read.cancel());
    }
}

impl<C: Decoder> Drop for Inner<C> {
    fn drop(&mut self) {
        // Whoever still waits here was left: for others a read is pending and keeps this.
        let waiters = self.state.borrow_mut().handout.take_waiters();
        waiters.into_iter().for_each(Waiting::stop);
    }
}

impl<T: 'static> Waiter<T> for Waiting<T> {
    fn is_waiting(&self) -> bool {
        handout::is_waiting(&self.trigger)
    }

    fn give(self, frame: T, back: impl FnOnce(T) + 'static) {
        self.trigger.on_unclaimed(move |frame| {
            if let Some(frame) = frame {
                back(frame);
            }
        });
        self.trigger.fire(Some(frame));
    }

    fn stop(self) {
        handout::stop(self.trigger);
    }

    fn when_gone(&self, f: impl FnOnce() + Clone + 'static) {
        handout::when_gone(&self.trigger, f);
    }
}

impl<C: Decoder> Stream for Framed<C> {
    type Item = Result<C::Item, Failure>;

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let mut wait = match this.wait.take() {
            Some(wait) => wait,
            None => this.next().into_future(),
        };
        let Poll::Ready(next) = Pin::new(&mut wait).poll(task) else {
            this.wait = Some(wait);
            return Poll::Pending;
        };
        Poll::Ready(next.transpose())
    }
}

impl<C: Decoder> Unpin for Framed<C> {}

impl<C: Decoder> fmt::Debug for Framed<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Framed").field(&self.inner.transport).finish()
    }
}
