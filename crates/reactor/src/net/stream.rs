//! A TCP connection.

use std::{
    cell::RefCell,
    collections::VecDeque,
    fmt,
    io::{self, IoSlice},
    net::{Shutdown, SocketAddr},
    rc::{Rc, Weak},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use thence_core::{Deferred, Failure, Outcome, Stop, Trigger};

use super::{
    inbound::Inbound,
    outbound::{Broken, Finishing, Outbound, Write},
};
use crate::{
    driver::{Done, Key, Op, RECV_MAX, Socket, is_cancelled},
    hub::{Flush, Hub, Sink},
};

/// A TCP connection. Reads and writes are Deferreds, on `&self`.
///
/// * A read that is left or cancelled loses nothing: what came goes to the front of the
///   connection's buffer, and the next read has it.
/// * Reads end in the order they were asked for, and so do writes. A write ends when the operating
///   system has all of it, so that waiting for it is the back-pressure. What is written in one turn
///   goes out together at its end.
/// * A cancelled write is not sent when nothing of it was; otherwise it goes on to its end, since
///   half of it would garble the stream.
/// * Dropped, the connection closes when its writes are out and nobody waits for a read.
///
/// TCP_NODELAY is on.
///
/// ```
/// # use thence_core::flow;
/// # use thence_reactor::net::{TcpListener, TcpStream};
/// # thence_reactor::run(async {
/// # let listener = TcpListener::bind("127.0.0.1:0")?;
/// # let addr = listener.local_addr();
/// # flow(async move {
/// #     let (stream, _) = listener.accept().await?;
/// #     stream.write(stream.read(100).await?).await
/// # }).report();
/// let stream = TcpStream::connect(addr).await?;
/// stream.write("ping\n").await?;
/// let answer = stream.read(1024).await?;
/// assert_eq!(answer, "ping\n");
/// # Ok(()) }).unwrap();
/// ```
pub struct TcpStream(Rc<Connection>);

struct Connection {
    hub: Rc<Hub>,
    socket: Socket,
    this: Weak<Self>,
    reading: RefCell<Reading>,
    writing: RefCell<Outbound>,
}

#[derive(Default)]
struct Reading {
    inbound: Inbound,
    end: Option<End>,
    waiters: VecDeque<Reader>,
    waker: Option<Waker>,
    op: Option<Key>,
    next_id: u64,
}

/// Nothing more will come.
enum End {
    Broken(Broken),
    Finished,
}

struct Reader {
    id: u64,
    need: Need,
    trigger: Trigger<Bytes>,
}

#[derive(Clone, Copy)]
enum Need {
    AtMost(usize),
    Exactly(usize),
}

impl TcpStream {
    /// Connects to `addr`.
    ///
    /// Cancelled, or left, a connection that is made all the same closes.
    ///
    /// # Errors
    ///
    /// The Deferred fails when nobody listens there, or there is no way there.
    ///
    /// # Panics
    ///
    /// When this thread has no reactor.
    #[track_caller]
    pub fn connect(addr: SocketAddr) -> Deferred<TcpStream> {
        let hub = Hub::current("TcpStream::connect");
        let (trigger, deferred) = Deferred::new();
        let connecting =
            Rc::new(Connecting { hub: hub.clone(), addr, trigger: RefCell::new(None) });
        match hub.submit(Op::Connect { addr }, connecting.clone()) {
            Ok(key) => {
                let hub = Rc::downgrade(&hub);
                trigger.on_cancel(move || {
                    if let Some(hub) = hub.upgrade() {
                        hub.cancel(key);
                    }
                });
                *connecting.trigger.borrow_mut() = Some(trigger);
            }
            Err(error) => trigger.fail(connecting.failure(error)),
        }
        deferred
    }

    pub(super) fn new(hub: Rc<Hub>, socket: Socket) -> Self {
        TcpStream(Rc::new_cyclic(|this| Connection {
            hub,
            socket,
            this: this.clone(),
            reading: RefCell::default(),
            writing: RefCell::default(),
        }))
    }

    /// What is there, at least one byte and at most `max`; empty at the end of the stream.
    ///
    /// # Errors
    ///
    /// The Deferred fails when the connection is broken.
    #[track_caller]
    pub fn read(&self, max: usize) -> Deferred<Bytes> {
        let (trigger, deferred) = Deferred::new();
        self.0.read(Need::AtMost(max), trigger);
        deferred
    }

    /// Exactly `n` bytes.
    ///
    /// # Errors
    ///
    /// The Deferred fails with [`io::ErrorKind::UnexpectedEof`] when the stream ends before; what
    /// did come stays for other reads. And when the connection is broken.
    #[track_caller]
    pub fn read_exact(&self, n: usize) -> Deferred<Bytes> {
        let (trigger, deferred) = Deferred::new();
        self.0.read(Need::Exactly(n), trigger);
        deferred
    }

    /// Sends all of `bytes`, after what was written before.
    ///
    /// # Errors
    ///
    /// The Deferred fails when the connection is broken, or its sending half was shut down. How
    /// much of this write has arrived is unknown then.
    #[track_caller]
    pub fn write(&self, bytes: impl Into<Bytes>) -> Deferred<()> {
        let (trigger, deferred) = Deferred::new();
        self.0.write(bytes.into(), trigger);
        deferred
    }

    /// Says that nothing more will be sent, after what was written before. Reading goes on.
    ///
    /// # Errors
    ///
    /// The Deferred fails when the connection is broken.
    #[doc(alias = "loseConnection")]
    #[track_caller]
    pub fn shutdown(&self) -> Deferred<()> {
        let (trigger, deferred) = Deferred::new();
        self.0.shutdown(trigger);
        deferred
    }

    /// Breaks the connection: what was written and has not left is not sent, and whoever waits
    /// fails.
    #[doc(alias = "abortConnection")]
    pub fn abort(&self) {
        self.0.abort();
    }

    /// Turns TCP_NODELAY off, or on again.
    ///
    /// # Errors
    ///
    /// When the connection is gone.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.0.socket.set_nodelay(on)
    }

    /// The address of the other end.
    ///
    /// # Errors
    ///
    /// When the connection is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.socket.peer_addr()
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// When the connection is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.socket.local_addr()
    }
}

/// For adapters to what polls, such as hyper's `Read` and `Write`. Do not mix them with Deferreds
/// on the same half.
impl TcpStream {
    /// Lends what has come to `f`, which says how much of it it took. `f` is called once, with an
    /// empty slice at the end of the stream.
    ///
    /// # Errors
    ///
    /// When the connection is broken.
    pub fn poll_read(
        &self,
        cx: &mut Context<'_>,
        f: &mut dyn FnMut(&[u8]) -> usize,
    ) -> Poll<io::Result<usize>> {
        self.0.poll_read(cx, f)
    }

    /// Takes a copy of the front of `bytes`, unless too much waits to be sent.
    ///
    /// # Errors
    ///
    /// When the connection is broken, or its sending half was shut down.
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    /// As [`poll_write`](TcpStream::poll_write), of several slices.
    ///
    /// # Errors
    ///
    /// As [`poll_write`](TcpStream::poll_write).
    pub fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, slices)
    }

    /// Ready when the operating system has all that was written.
    ///
    /// # Errors
    ///
    /// When the connection is broken.
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(cx)
    }

    /// Ready when that is done and the sending half is shut down.
    ///
    /// # Errors
    ///
    /// When the connection is broken.
    pub fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_shutdown(cx)
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TcpStream").field(&self.0.socket).finish()
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

/// Reading.
impl Connection {
    fn read(self: &Rc<Self>, need: Need, trigger: Trigger<Bytes>) {
        let mut reading = self.reading.borrow_mut();
        let id = reading.next_id;
        reading.next_id += 1;
        let this = self.this.clone();
        trigger.on_cancel(move || {
            if let Some(this) = this.upgrade() {
                this.forget_reader(id);
            }
        });
        reading.waiters.push_back(Reader { id, need, trigger });
        drop(reading);
        self.serve();
    }

    /// A read was cancelled.
    fn forget_reader(&self, id: u64) {
        let mut reading = self.reading.borrow_mut();
        let place = reading.waiters.iter().position(|reader| reader.id == id);
        let reader = place.and_then(|place| reading.waiters.remove(place));
        let idle = reading.op.filter(|_| reading.waiters.is_empty() && reading.waker.is_none());
        drop(reading);
        drop(reader);
        // What comes all the same goes to the buffer.
        if let Some(key) = idle {
            self.hub.cancel(key);
        }
    }

    /// Gives what is there to whoever waits, in order, and asks the driver for more.
    fn serve(self: &Rc<Self>) {
        loop {
            let mut reading = self.reading.borrow_mut();
            let left = reading.take_left();
            let served = reading.serve_one();
            drop(reading);
            end(left);
            match served {
                None => break,
                Some((trigger, Served::Failed(error))) => trigger.fail(error),
                Some((trigger, Served::Bytes(place, bytes))) => {
                    let this = self.this.clone();
                    trigger.on_unclaimed(move |bytes| {
                        // Without a connection nobody can ask for them.
                        let Some(this) = this.upgrade() else { return };
                        this.reading.borrow_mut().inbound.put_back(place, bytes);
                        this.serve();
                    });
                    trigger.fire(bytes);
                }
            }
        }
        self.want_more();
    }

    /// Has an operation pending while somebody waits for more than there is.
    fn want_more(self: &Rc<Self>) {
        let reading = self.reading.borrow();
        if reading.op.is_some() || reading.end.is_some() {
            return;
        }
        let max = match reading.waiters.front().map(|reader| reader.need) {
            Some(Need::AtMost(max)) => max.clamp(1, RECV_MAX),
            Some(Need::Exactly(n)) => n.saturating_sub(reading.inbound.len()).clamp(1, RECV_MAX),
            None if reading.waker.is_some() => RECV_MAX,
            None => return,
        };
        drop(reading);
        match self.hub.submit(Op::Recv { socket: self.socket.clone(), max }, self.clone()) {
            Ok(key) => self.reading.borrow_mut().op = Some(key),
            Err(error) => self.received(Err(error)),
        }
    }

    fn received(self: &Rc<Self>, result: io::Result<Done>) {
        let mut reading = self.reading.borrow_mut();
        reading.op = None;
        match result {
            Ok(Done::Received(bytes)) if bytes.is_empty() => reading.end = Some(End::Finished),
            Ok(Done::Received(bytes)) => reading.inbound.push(bytes),
            Ok(_) => {}
            Err(error) if is_cancelled(&error) => {}
            Err(error) => reading.end = Some(End::Broken(Broken::new(&error))),
        }
        let waker = reading.waker.take();
        drop(reading);
        if let Some(waker) = waker {
            waker.wake();
        }
        self.serve();
    }

    fn poll_read(
        self: &Rc<Self>,
        cx: &mut Context<'_>,
        f: &mut dyn FnMut(&[u8]) -> usize,
    ) -> Poll<io::Result<usize>> {
        let mut reading = self.reading.borrow_mut();
        if let Some(front) = reading.inbound.front().cloned() {
            // Outside of the borrow: `f` is not ours.
            drop(reading);
            let taken = f(&front).min(front.len());
            drop(front);
            if taken > 0 {
                self.reading.borrow_mut().inbound.take(taken);
            }
            return Poll::Ready(Ok(taken));
        }
        match &reading.end {
            Some(End::Broken(broken)) => return Poll::Ready(Err(broken.error())),
            Some(End::Finished) => {
                drop(reading);
                f(&[]);
                return Poll::Ready(Ok(0));
            }
            None => {}
        }
        reading.waker = Some(cx.waker().clone());
        drop(reading);
        self.want_more();
        Poll::Pending
    }
}

/// Writing.
impl Connection {
    fn write(self: &Rc<Self>, bytes: Bytes, trigger: Trigger<()>) {
        let mut writing = self.writing.borrow_mut();
        if let Some(error) = writing.refusal() {
            drop(writing);
            trigger.fail(Failure::from(error));
            return;
        }
        let id = writing.reserve();
        let this = self.this.clone();
        trigger.on_cancel(move || {
            let Some(this) = this.upgrade() else { return };
            let write = this.change(|writing| writing.remove(id));
            drop(write);
        });
        drop(writing);
        self.change(|writing| writing.push(Write { id, bytes, trigger: Some(trigger) }));
        self.flush_soon();
    }

    fn poll_write(
        self: &Rc<Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut writing = self.writing.borrow_mut();
        if let Some(error) = writing.refusal() {
            return Poll::Ready(Err(error));
        }
        let mut room = HIGH_WATER.saturating_sub(writing.len());
        if room == 0 {
            writing.wake_later(cx.waker());
            return Poll::Pending;
        }
        drop(writing);
        let mut taken = 0;
        self.change(|writing| {
            for slice in slices {
                let part = slice.len().min(room);
                writing.copy(&slice[..part]);
                taken += part;
                room -= part;
            }
        });
        self.flush_soon();
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut writing = self.writing.borrow_mut();
        if let Some(broken) = &writing.error {
            return Poll::Ready(Err(broken.error()));
        }
        if writing.is_idle() {
            return Poll::Ready(Ok(()));
        }
        writing.wake_later(cx.waker());
        Poll::Pending
    }

    fn poll_shutdown(self: &Rc<Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut writing = self.writing.borrow_mut();
        if writing.finishing == Finishing::No {
            writing.finishing = Finishing::Asked;
            drop(writing);
            self.flush_soon();
            writing = self.writing.borrow_mut();
        }
        if let Some(broken) = &writing.error {
            return Poll::Ready(Err(broken.error()));
        }
        if writing.finishing == Finishing::Done {
            return Poll::Ready(Ok(()));
        }
        writing.wake_later(cx.waker());
        Poll::Pending
    }

    fn shutdown(self: &Rc<Self>, trigger: Trigger<()>) {
        let mut writing = self.writing.borrow_mut();
        if writing.finishing == Finishing::No {
            writing.finishing = Finishing::Asked;
        }
        writing.finish_waiters.push(trigger);
        drop(writing);
        self.flush_soon();
    }

    fn flush_soon(self: &Rc<Self>) {
        let mut writing = self.writing.borrow_mut();
        if writing.sending.is_none() && !writing.listed {
            writing.listed = true;
            drop(writing);
            self.hub.flush_later(self.clone());
        }
    }

    /// Gives the driver what waits, and shuts down when that was all and it was asked for.
    fn send(self: &Rc<Self>) {
        let mut writing = self.writing.borrow_mut();
        if writing.sending.is_some() {
            return;
        }
        if let Some(broken) = writing.error.clone() {
            drop(writing);
            self.fail_writes(&broken);
            return;
        }
        let batch = writing.take_batch();
        if !batch.is_empty() {
            drop(writing);
            let buffers = batch.iter().map(|write| write.bytes.clone()).collect();
            let op = Op::Send { socket: self.socket.clone(), buffers };
            match self.hub.submit(op, self.clone()) {
                Ok(key) => self.writing.borrow_mut().sending = Some((key, batch)),
                Err(error) => self.sent(batch, Err(error)),
            }
            return;
        }
        if writing.finishing == Finishing::Asked {
            writing.finishing = Finishing::Done;
            drop(writing);
            if let Err(error) = self.socket.shutdown(Shutdown::Write) {
                self.fail_writes(&Broken::new(&error));
                return;
            }
            writing = self.writing.borrow_mut();
        }
        let finished = match writing.finishing {
            Finishing::Done => std::mem::take(&mut writing.finish_waiters),
            _ => Vec::new(),
        };
        let wakers = std::mem::take(&mut writing.wakers);
        drop(writing);
        wakers.into_iter().for_each(Waker::wake);
        for trigger in finished {
            trigger.fire(());
        }
    }

    fn sent(self: &Rc<Self>, batch: Vec<Write>, result: io::Result<Done>) {
        let expected: usize = batch.iter().map(|write| write.bytes.len()).sum();
        self.change(|writing| writing.sent(&batch));
        let error = match result {
            Ok(Done::Sent(n)) if n == expected => {
                let wakers = std::mem::take(&mut self.writing.borrow_mut().wakers);
                wakers.into_iter().for_each(Waker::wake);
                for trigger in batch.into_iter().filter_map(|write| write.trigger) {
                    trigger.fire(());
                }
                self.send();
                return;
            }
            Ok(_) => io::Error::new(io::ErrorKind::BrokenPipe, "the connection was aborted"),
            Err(error) if is_cancelled(&error) => {
                io::Error::new(io::ErrorKind::BrokenPipe, "the connection was aborted")
            }
            Err(error) => error,
        };
        let broken = Broken::new(&error);
        for trigger in batch.into_iter().filter_map(|write| write.trigger) {
            trigger.fail(Failure::from(broken.error()));
        }
        self.fail_writes(&broken);
    }

    /// Nothing more can be sent.
    fn fail_writes(&self, broken: &Broken) {
        let mut writing = self.writing.borrow_mut();
        writing.error.get_or_insert_with(|| broken.clone());
        writing.finishing = Finishing::Done;
        let finish_waiters = std::mem::take(&mut writing.finish_waiters);
        let wakers = std::mem::take(&mut writing.wakers);
        drop(writing);
        let waiting = self.change(Outbound::take_waiting);
        wakers.into_iter().for_each(Waker::wake);
        let triggers = waiting.into_iter().filter_map(|write| write.trigger).chain(finish_waiters);
        for trigger in triggers {
            trigger.fail(Failure::from(broken.error()));
        }
    }

    /// Changes the writes, and keeps count of the connections that have some.
    fn change<R>(&self, f: impl FnOnce(&mut Outbound) -> R) -> R {
        let mut writing = self.writing.borrow_mut();
        let before = writing.len() > 0;
        let result = f(&mut writing);
        let unsent = &self.hub.unsent;
        match (before, writing.len() > 0) {
            (false, true) => unsent.set(unsent.get() + 1),
            (true, false) => unsent.set(unsent.get() - 1),
            _ => {}
        }
        result
    }
}

/// Ending.
impl Connection {
    fn abort(self: &Rc<Self>) {
        // Receivers and senders see the end through their operations; what never started fails.
        let _ = self.socket.shutdown(Shutdown::Both);
        let sending = self.writing.borrow().sending.as_ref().map(|(key, _)| *key);
        if let Some(key) = sending {
            self.hub.cancel(key);
        }
        let error = io::Error::new(io::ErrorKind::BrokenPipe, "the connection was aborted");
        self.fail_writes(&Broken::new(&error));
        let mut reading = self.reading.borrow_mut();
        let error = io::Error::new(io::ErrorKind::ConnectionAborted, "the connection was aborted");
        reading.end.get_or_insert(End::Broken(Broken::new(&error)));
        let op = reading.op;
        drop(reading);
        if let Some(key) = op {
            self.hub.cancel(key);
        }
        self.serve();
    }

    /// The handle is gone. Writes go out; reads that somebody waits for go on.
    fn let_go(&self) {
        let mut reading = self.reading.borrow_mut();
        let left = reading.take_left();
        let idle = reading.op.filter(|_| reading.waiters.is_empty());
        drop(reading);
        end(left);
        if let Some(key) = idle {
            self.hub.cancel(key);
        }
        // A write that is half out and was asked to end would keep the connection for ever when
        // nobody reads at the other end.
        let writing = self.writing.borrow();
        let stuck = writing.sending.as_ref().filter(|(_, batch)| {
            batch.iter().any(|write| write.trigger.as_ref().is_some_and(Trigger::is_cancelled))
        });
        let key = stuck.map(|(key, _)| *key);
        drop(writing);
        if let Some(key) = key {
            self.hub.cancel(key);
        }
    }
}

impl Sink for Connection {
    fn completed(self: Rc<Self>, key: Key, result: io::Result<Done>) {
        if self.reading.borrow().op == Some(key) {
            self.received(result);
            return;
        }
        let batch = self.writing.borrow_mut().sending.take_if(|(sending, _)| *sending == key);
        if let Some((_, batch)) = batch {
            self.sent(batch, result);
        }
    }

    fn abandoned(&self) {
        let ended = Broken::new(&io::Error::other("the reactor of this connection has ended"));
        let mut reading = self.reading.borrow_mut();
        reading.end.get_or_insert(End::Broken(ended.clone()));
        let readers = std::mem::take(&mut reading.waiters);
        let waker = reading.waker.take();
        drop(reading);
        end(readers.into_iter().map(|reader| reader.trigger).collect());
        waker.into_iter().for_each(Waker::wake);
        let mut writing = self.writing.borrow_mut();
        writing.error.get_or_insert(ended);
        let unsent = writing.take_all();
        let wakers = std::mem::take(&mut writing.wakers);
        drop(writing);
        unsent.into_iter().for_each(|trigger| trigger.settle(Outcome::Stop(Stop::Cancelled)));
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Flush for Connection {
    fn flush(self: Rc<Self>) {
        self.writing.borrow_mut().listed = false;
        self.send();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Whoever still has a trigger here was left: with somebody waiting, an operation is pending
        // and keeps the connection.
        self.abandoned();
    }
}

/// What a read ends with.
enum Served {
    Bytes(u64, Bytes),
    Failed(Failure),
}

impl Reading {
    /// The first waiter and its end, when that is there.
    fn serve_one(&mut self) -> Option<(Trigger<Bytes>, Served)> {
        let need = self.waiters.front()?.need;
        let taken = match need {
            Need::AtMost(0) => Some((0, Bytes::new())),
            Need::AtMost(max) => self.inbound.take(max),
            Need::Exactly(n) => self.inbound.take_exact(n),
        };
        let served = match (taken, &self.end, need) {
            (Some((place, bytes)), _, _) => Served::Bytes(place, bytes),
            (None, None, _) => return None,
            (None, Some(End::Broken(broken)), _) => Served::Failed(broken.error().into()),
            (None, Some(End::Finished), Need::AtMost(_)) => Served::Bytes(0, Bytes::new()),
            (None, Some(End::Finished), Need::Exactly(n)) => {
                let there = self.inbound.len();
                Served::Failed(Failure::from(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("the stream ended after {there} of {n} bytes"),
                )))
            }
        };
        self.waiters.pop_front().map(|reader| (reader.trigger, served))
    }

    /// Takes out who no longer waits.
    fn take_left(&mut self) -> Vec<Trigger<Bytes>> {
        if self.waiters.iter().all(|reader| reader.trigger.is_wanted()) {
            return Vec::new();
        }
        let (wanted, left) =
            self.waiters.drain(..).partition::<VecDeque<_>, _>(|reader| reader.trigger.is_wanted());
        self.waiters = wanted;
        left.into_iter().map(|reader| reader.trigger).collect()
    }
}

impl Outbound {
    fn refusal(&self) -> Option<io::Error> {
        match (&self.error, self.finishing) {
            (Some(broken), _) => Some(broken.error()),
            (None, Finishing::No) => None,
            (None, _) => Some(io::Error::new(
                io::ErrorKind::BrokenPipe,
                "this end of the connection was shut down for sending",
            )),
        }
    }

    fn wake_later(&mut self, waker: &Waker) {
        if !self.wakers.iter().any(|kept| kept.will_wake(waker)) {
            self.wakers.push(waker.clone());
        }
    }
}

/// A connection that is being made.
struct Connecting {
    hub: Rc<Hub>,
    addr: SocketAddr,
    trigger: RefCell<Option<Trigger<TcpStream>>>,
}

impl Connecting {
    fn failure(&self, error: io::Error) -> Failure {
        Failure::from(error).context(format!("cannot connect to {}", self.addr))
    }
}

impl Sink for Connecting {
    fn completed(self: Rc<Self>, _: Key, result: io::Result<Done>) {
        let Some(trigger) = self.trigger.take() else { return };
        match result {
            Ok(Done::Connected(socket)) => trigger.fire(TcpStream::new(self.hub.clone(), socket)),
            Ok(_) => {}
            // Its drop says so.
            Err(error) if is_cancelled(&error) => {}
            Err(error) => trigger.fail(self.failure(error)),
        }
    }

    fn abandoned(&self) {
        if let Some(trigger) = self.trigger.take() {
            trigger.settle(Outcome::Stop(Stop::Cancelled));
        }
    }
}

fn end(triggers: Vec<Trigger<Bytes>>) {
    for trigger in triggers {
        trigger.settle(Outcome::Stop(Stop::Cancelled));
    }
}

/// How much `poll_write` takes before somebody has to wait.
const HIGH_WATER: usize = 64 * 1024;
