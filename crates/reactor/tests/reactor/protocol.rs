//! Protocols: which method is called when, and what becomes of a connection that ends in each way.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use thence_core::{Canceller, Deferred, Failure, Stop, flow};
use thence_reactor::{
    Reactor, after,
    driver::manual::{Manual, Peer},
    net::{Protocol, TcpListener, TcpStream, Transport, UnixStream, drive},
};

use crate::common::{ANY, Log, Watched, World, ms, tls, watch};

/// Writes down what it is told, and whether that came inside of something else.
#[derive(Clone)]
struct Told {
    log: Log<String>,
    busy: Rc<Cell<bool>>,
    transport: Rc<RefCell<Option<Transport>>>,
    /// Done in `received`.
    then: Rc<dyn Fn(&Transport, &Bytes)>,
    /// The other end's end is no reason to close.
    stays: bool,
}

impl Told {
    fn new() -> Self {
        Self::then(|_, _| {})
    }

    fn then(then: impl Fn(&Transport, &Bytes) + 'static) -> Self {
        Told {
            log: Log::new(),
            busy: Rc::default(),
            transport: Rc::default(),
            then: Rc::new(then),
            stays: false,
        }
    }

    fn staying(self) -> Self {
        Told { stays: true, ..self }
    }

    /// The connection, as somebody else who has a clone sees it.
    fn transport(&self) -> Transport {
        self.transport.borrow().clone().expect("it was connected")
    }

    fn tell(&self, entry: impl Into<String>, f: impl FnOnce()) {
        assert!(!self.busy.replace(true), "a method inside of another");
        self.log.push(entry.into());
        f();
        self.busy.set(false);
    }

    fn log(&self) -> Vec<String> {
        self.log.all()
    }
}

impl Protocol for Told {
    fn connected(&mut self, transport: &Transport) {
        self.tell("connected", || {
            self.transport.replace(Some(transport.clone()));
        });
    }

    fn received(&mut self, transport: &Transport, bytes: Bytes) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        self.tell(format!("received {text}"), || (self.then)(transport, &bytes));
    }

    fn finished(&mut self, transport: &Transport) {
        self.tell("finished", || {
            if !self.stays {
                transport.close();
            }
        });
    }

    fn pause_writing(&mut self, _: &Transport) {
        self.tell("pause", || {});
    }

    fn resume_writing(&mut self, _: &Transport) {
        self.tell("resume", || {});
    }

    fn closed(&mut self, how: &Result<(), Failure>) {
        let how = match how {
            Ok(()) => "closed".to_owned(),
            Err(failure) => format!("closed: {failure}"),
        };
        self.tell(how, || {});
    }
}

/// A protocol on a connection, the other end, and how it ends.
fn driven<P: Protocol>(world: &mut World, protocol: P) -> (Peer, Watched<(), Failure>, Canceller) {
    let (stream, peer) = world.connection();
    let driving = drive(stream, protocol);
    let canceller = driving.canceller();
    let ending = watch(driving);
    world.settle();
    (peer, ending, canceller)
}

fn kind(failure: &Failure) -> io::ErrorKind {
    failure.downcast_ref::<io::Error>().map(io::Error::kind).expect("an I/O error")
}

#[test]
fn it_is_told_in_order_and_once() {
    let mut world = World::new();
    let told = Told::new();
    let (peer, ending, _) = driven(&mut world, told.clone());
    assert_eq!(told.log(), ["connected"]);
    peer.send("ab");
    world.settle();
    peer.send("cd");
    peer.finish();
    world.settle();
    ending.ok();
    assert_eq!(told.log(), ["connected", "received ab", "received cd", "finished", "closed"]);
}

#[test]
fn what_came_before_the_protocol_did_is_its_own() {
    let mut world = World::new();
    let (stream, peer) = world.connection();
    let first = watch(stream.read(2));
    peer.send("abcd");
    world.settle();
    assert_eq!(first.ok(), "ab");
    let told = Told::new();
    let _ending = watch(drive(stream, told.clone()));
    world.settle();
    assert_eq!(told.log(), ["connected", "received cd"]);
    drop(peer);
    world.settle();
}

#[test]
fn nothing_is_told_inside_of_something_else() {
    let mut world = World::new();
    let other = Told::new();
    let (other_peer, other_ending, canceller) = driven(&mut world, other.clone());
    let log = other.log.clone();
    let told = Told::then(move |transport, bytes| {
        transport.send(bytes.clone());
        canceller.cancel();
        transport.pause();
        transport.resume();
        transport.abort();
        log.push("received returns".into());
    });
    let (peer, ending, _) = driven(&mut world, told.clone());
    peer.send("x");
    world.settle();
    assert_eq!(kind(&ending.err()), io::ErrorKind::ConnectionAborted);
    assert!(other_ending.is_cancelled());
    assert_eq!(
        other.log(),
        ["connected", "received returns", "closed: the protocol was cancelled"]
    );
    assert_eq!(told.log().len(), 3, "{:?}", told.log());
    assert!(told.log()[2].starts_with("closed: "));
    drop((peer, other_peer));
}

#[test]
fn a_protocol_that_stays_answers_after_the_other_end_has_finished() {
    let mut world = World::new();
    let told = Told::new().staying();
    let (peer, ending, _) = driven(&mut world, told.clone());
    peer.send("question");
    peer.finish();
    world.settle();
    let transport = told.transport();
    world.pass(Duration::from_secs(60));
    assert!(!ending.has_ended());
    transport.send("answer");
    world.settle();
    assert_eq!(peer.received(), b"answer");
    assert!(!peer.is_at_end());
    transport.close();
    world.settle();
    assert!(peer.is_at_end());
    ending.ok();
    assert_eq!(told.log(), ["connected", "received question", "finished", "closed"]);
}

#[test]
fn a_staying_protocol_hears_that_nobody_can_be_sent_to() {
    let mut world = World::new();
    let told = Told::new().staying();
    let (peer, ending, _) = driven(&mut world, told.clone());
    drop(peer);
    world.settle();
    assert_eq!(told.log(), ["connected", "finished"]);
    told.transport().send("anybody there?");
    world.settle();
    assert_eq!(kind(&ending.err()), io::ErrorKind::BrokenPipe);
    assert_eq!(told.log().len(), 3, "{:?}", told.log());
}

#[test]
fn a_paused_connection_keeps_what_came_and_takes_no_more() {
    let mut world = World::new();
    world.manual.set_capacity(4096);
    let told = Told::then(|transport, _| transport.pause());
    let (peer, ending, _) = driven(&mut world, told.clone());
    peer.send("0");
    world.settle();
    let mut sent = Vec::new();
    for round in 0..10_000 {
        let piece = format!("{round:0500}");
        let taken = peer.send(&piece);
        sent.extend_from_slice(&piece.as_bytes()[..taken]);
        if taken < piece.len() {
            world.settle();
            assert_eq!(peer.send(&piece[taken..]), 0, "it takes more in round {round}");
            break;
        }
        world.settle();
    }
    assert!(sent.len() < 80_000, "{} bytes were taken", sent.len());
    assert_eq!(told.log(), ["connected", "received 0"]);
    let transport = told.transport();
    let heard = |told: &Told| {
        told.log()[2..].iter().map(|entry| &entry["received ".len()..]).collect::<String>()
    };
    while heard(&told).len() < sent.len() {
        let before = told.log().len();
        transport.resume();
        world.settle();
        assert!(told.log().len() > before, "some of it is lost");
    }
    assert_eq!(heard(&told).as_bytes(), sent);
    transport.close();
    drop(peer);
    world.settle();
    assert!(ending.has_ended());
}

#[test]
fn water_marks_are_told_once_each() {
    let mut world = World::new();
    world.manual.set_capacity(10);
    let told = Told::new();
    let (peer, _ending, _) = driven(&mut world, told.clone());
    let transport = told.transport();
    transport.set_water_marks(20, 50);
    for _ in 0..6 {
        transport.send("0123456789");
        world.settle();
    }
    // Ten are with the peer, fifty wait: as many as may.
    assert_eq!(told.log(), ["connected"]);
    for _ in 0..3 {
        transport.send("x");
        world.settle();
    }
    assert_eq!(told.log(), ["connected", "pause"]);
    let mut received = 0;
    while received < 63 {
        // What the driver has waits until all of it is out.
        if received + 10 + 20 < 63 {
            assert_eq!(told.log(), ["connected", "pause"], "{received} received");
        }
        received += peer.receive(10).len();
        world.settle();
    }
    assert_eq!(told.log(), ["connected", "pause", "resume"]);
    transport.send("y".repeat(60));
    world.settle();
    assert_eq!(told.log(), ["connected", "pause", "resume", "pause"]);
    transport.abort();
    world.settle();
}

/// Sends back what comes, and has the defaults.
struct Echo;

impl Protocol for Echo {
    fn received(&mut self, transport: &Transport, bytes: Bytes) {
        transport.send(bytes);
    }
}

#[test]
fn a_peer_that_sends_and_does_not_read_is_not_read_from() {
    let mut world = World::new();
    world.manual.set_capacity(1024);
    let (peer, ending, canceller) = driven(&mut world, Echo);
    let mut sent = 0;
    for _ in 0..10_000 {
        sent += peer.send([7; 1024]);
        world.settle();
    }
    // What the water mark allows, what is read ahead, and what is in both pipes.
    assert!(sent < 3 * 64 * 1024, "{sent} bytes were taken");
    let mut received = 0;
    for _ in 0..10_000 {
        received += peer.received().len();
        world.settle();
    }
    assert_eq!(received, sent);
    canceller.cancel();
    world.settle();
    assert!(ending.is_cancelled());
}

#[test]
fn a_mebibyte_through_a_tiny_pipe_is_the_same_mebibyte() {
    let mut world = World::new();
    world.manual.set_capacity(61);
    world.manual.set_recv_max(13);
    let (peer, ending, _) = driven(&mut world, Echo);
    let all = tls::numbers(1 << 20);
    let (mut sent, mut received) = (0, Vec::new());
    while received.len() < all.len() {
        sent += peer.send(&all[sent..all.len().min(sent + 61)]);
        world.reactor.turn(Some(Duration::ZERO)).unwrap();
        let some = peer.received();
        assert!(!some.is_empty() || sent < all.len() || world.reactor.next_timeout().is_some());
        received.extend(some);
    }
    assert!(received == all, "the bytes differ");
    drop(peer);
    world.settle();
    ending.ok();
}

#[test]
fn close_sends_everything_first() {
    let mut world = World::new();
    world.manual.set_capacity(10);
    let told = Told::then(|transport, _| {
        transport.send("0123456789".repeat(10));
        transport.close();
        transport.send("too late");
    });
    let (peer, ending, _) = driven(&mut world, told.clone());
    peer.send("go");
    world.settle();
    let mut received = Vec::new();
    while received.len() < 100 {
        assert!(!ending.has_ended() && !peer.is_at_end());
        let some = peer.received();
        assert!(!some.is_empty(), "nothing comes any more after {received:?}");
        received.extend(some);
        world.settle();
    }
    assert_eq!(received, b"0123456789".repeat(10));
    assert!(peer.is_at_end() && !ending.has_ended(), "the other end may read it and close");
    drop(peer);
    world.settle();
    ending.ok();
    assert_eq!(told.log(), ["connected", "received go", "closed"]);
}

#[test]
fn a_reset_is_told_once() {
    let mut world = World::new();
    let told = Told::new();
    let (peer, ending, _) = driven(&mut world, told.clone());
    peer.send("ab");
    world.settle();
    peer.reset();
    world.settle();
    assert_eq!(kind(&ending.err()), io::ErrorKind::ConnectionReset);
    assert_eq!(told.log().len(), 3, "{:?}", told.log());
    assert!(told.log()[2].starts_with("closed: "));
}

#[test]
fn an_abort_is_told_once() {
    for paused in [false, true] {
        let mut world = World::new();
        let told = Told::new();
        let (peer, ending, _) = driven(&mut world, told.clone());
        let transport = told.transport();
        if paused {
            transport.pause();
            peer.send("kept");
            world.settle();
        }
        transport.abort();
        world.settle();
        assert_eq!(kind(&ending.err()), io::ErrorKind::ConnectionAborted, "paused: {paused}");
        assert_eq!(told.log().len(), 2, "{:?}", told.log());
        assert_eq!(peer.send("x"), 0, "the descriptor is kept");
    }
}

#[test]
fn a_reset_is_told_while_paused() {
    let mut world = World::new();
    let told = Told::new();
    let (peer, ending, _) = driven(&mut world, told.clone());
    told.transport().pause();
    world.settle();
    peer.reset();
    world.settle();
    assert_eq!(kind(&ending.err()), io::ErrorKind::ConnectionReset);
    assert_eq!(told.log().len(), 2, "{:?}", told.log());
}

#[test]
fn a_request_to_end_breaks_the_connection_and_is_told_once() {
    let mut world = World::new();
    let told = Told::new();
    let (peer, ending, canceller) = driven(&mut world, told.clone());
    canceller.cancel();
    world.settle();
    assert!(ending.is_cancelled());
    assert_eq!(told.log(), ["connected", "closed: the protocol was cancelled"]);
    assert_eq!(peer.send("x"), 0);
}

#[test]
fn the_end_of_the_reactor_is_told_once() {
    let mut world = World::new();
    let told = Told::new();
    let (peer, ending, _) = driven(&mut world, told.clone());
    drop(world);
    assert!(ending.err().to_string().contains("the reactor of this connection has ended"));
    assert_eq!(told.log().len(), 2, "{:?}", told.log());
    assert_eq!(peer.send("x"), 0);
}

#[test]
fn whoever_leaves_the_end_lets_the_connection_go_on() {
    let mut world = World::new();
    let (stream, peer) = world.connection();
    let told = Told::new();
    drop(drive(stream, told.clone()));
    world.settle();
    peer.send("still there?");
    world.settle();
    assert_eq!(told.log(), ["connected", "received still there?"]);
    drop(peer);
    world.settle();
    assert_eq!(told.log()[2..], ["finished", "closed"]);
}

#[test]
fn a_panic_in_a_method_ends_this_connection_only() {
    let mut world = World::new();
    let listener = TcpListener::bind(ANY).unwrap();
    let addr = listener.local_addr();
    let told = Told::then(|_, bytes| assert_ne!(bytes, "panic", "as it was told"));
    let made = told.clone();
    let serving = listener.serve(move |_| Told { busy: Rc::default(), ..made.clone() });
    world.settle();
    let (one, two) = (world.manual.connect(addr).unwrap(), world.manual.connect(addr).unwrap());
    world.settle();
    one.send("panic");
    world.settle();
    world.expect_unhandled(1);
    assert_eq!(one.send("x"), 0, "it is closed");
    assert_eq!(told.log(), ["connected", "connected", "received panic"]);
    two.send("fine");
    world.settle();
    assert_eq!(told.log()[3..], ["received fine"]);
    let three = world.manual.connect(addr).unwrap();
    world.settle();
    assert_eq!(told.log()[4..], ["connected"]);
    serving.cancel();
    drop((two, three));
    world.settle();
}

#[test]
fn the_deferred_of_a_protocol_that_panics_ends_panicked() {
    let mut world = World::new();
    let told = Told::then(|_, _| panic!("enough"));
    let (peer, ending, _) = driven(&mut world, told.clone());
    peer.send("x");
    world.settle();
    assert!(ending.stop().contains("enough"));
    assert_eq!(told.log(), ["connected", "received x"], "nothing follows a panic");
}

#[test]
fn one_who_keeps_a_clone_keeps_no_descriptor() {
    for lingers in [false, true] {
        let mut world = World::new();
        let told = Told::new();
        let (peer, ending, _) = driven(&mut world, told.clone());
        let transport = told.transport();
        transport.close();
        world.settle();
        if !lingers {
            peer.finish();
        }
        world.pass(Duration::from_secs(2));
        ending.ok();
        transport.send("dropped");
        world.settle();
        assert!(peer.is_at_end());
        assert_eq!(peer.send("x"), 0, "lingers: {lingers}: the descriptor is kept");
        let refused = watch(transport.write("refused"));
        world.settle();
        assert_eq!(kind(&refused.err()), io::ErrorKind::BrokenPipe);
    }
}

/// A run whose main connects somebody from outside to a protocol, and ends.
fn drained<P: Protocol>(protocol: P) -> (Peer, Duration) {
    let manual = Manual::new();
    let mut reactor = Reactor::builder().driver(manual.clone()).signals(false).build().unwrap();
    let before = manual.now();
    let outside = manual.clone();
    let peer = reactor.run(async move {
        let listener = TcpListener::bind(ANY)?;
        let peer = outside.connect(listener.local_addr())?;
        let (stream, _) = listener.accept().await?;
        drive(stream, protocol).report();
        after(ms(1)).await;
        Ok(peer)
    });
    (peer.unwrap(), manual.now() - before)
}

#[test]
fn a_drain_closes() {
    let told = Told::new();
    let (peer, took) = drained(told.clone());
    assert!(peer.is_at_end());
    assert_eq!(told.log(), ["connected", "closed"]);
    assert!(took < Duration::from_secs(2), "{took:?}");
}

/// Has something to finish before it closes.
struct Polite;

impl Protocol for Polite {
    fn received(&mut self, _: &Transport, _: Bytes) {}

    fn draining(&mut self, transport: &Transport) {
        let transport = transport.clone();
        after(Duration::from_secs(3)).done(move |()| {
            transport.send("last words");
            transport.close();
        });
    }
}

#[test]
fn a_run_waits_for_a_protocol_that_finishes_its_work_first() {
    let (peer, took) = drained(Polite);
    assert_eq!(peer.received(), b"last words");
    assert!(peer.is_at_end());
    assert!(took >= Duration::from_secs(3) && took < Duration::from_secs(5), "{took:?}");
}

/// Sends `all` and reads as much, side by side.
async fn there_and_back(stream: &Transport, all: Bytes) -> Result<Bytes, Failure> {
    let sending = stream.write(all.clone());
    let back = stream.read_exact(all.len()).await?;
    sending.await?;
    Ok(back)
}

#[test]
fn echo_on_each_driver_and_both_kinds_of_stream() {
    tls::on_each_driver(|_| async {
        let listener = TcpListener::bind(ANY)?;
        let addr = listener.local_addr();
        let serving = listener.serve(|_| Echo);
        let all = tls::numbers(1 << 20);
        let stream = TcpStream::connect(addr).await?;
        assert_eq!(there_and_back(&stream, all.clone()).await?, all);
        drop(stream);
        serving.cancel();

        let (here, there) = UnixStream::pair()?;
        let echo = drive(there, Echo);
        assert_eq!(there_and_back(&here, all.clone()).await?, all);
        here.shutdown().await?;
        assert_eq!(here.read(1).await?, "");
        drop(here);
        echo.await
    });
}

#[test]
fn the_order_is_the_same_on_each_driver() {
    tls::on_each_driver(|_| async {
        let (here, there) = UnixStream::pair()?;
        let told = Told::new();
        let driving = drive(there, told.clone());
        here.write("a").await?;
        turns_until(&told, "received a").await;
        here.write("b").await?;
        here.shutdown().await?;
        assert_eq!(here.read(1).await?, "");
        drop(here);
        driving.await?;
        assert_eq!(told.log(), ["connected", "received a", "received b", "finished", "closed"]);
        Ok(())
    });
}

/// Lets others run until `told` has heard `entry`.
async fn turns_until(told: &Told, entry: &str) {
    while !told.log().iter().any(|heard| heard == entry) {
        after(ms(1)).await;
    }
}

#[test]
fn a_protocol_speaks_tls() {
    tls::on_each_driver(|_| async {
        let (server, client) = tls::ends();
        let (here, there) = tls::connected(&server, &client).await?;
        let echo = drive(there, Echo);
        let all = tls::numbers(1 << 20);
        assert_eq!(there_and_back(&here, all.clone()).await?, all);
        here.shutdown().await?;
        assert_eq!(here.read(1).await?, "");
        drop(here);
        echo.await
    });
}

#[test]
fn a_tls_stream_that_is_cut_is_told_as_broken() {
    let mut world = World::new();
    let (here, there) = tls::pair(&mut world);
    let told = Told::new();
    let ending = watch(drive(there, told.clone()));
    world.settle();
    here.abort();
    drop(here);
    world.settle();
    assert!(ending.err().downcast_ref::<io::Error>().is_some());
    assert_eq!(told.log().len(), 2, "{:?}", told.log());
}

#[test]
fn a_reset_on_a_real_socket_is_told_once() {
    thence_reactor::test(async {
        let listener = TcpListener::bind(ANY)?;
        let here = std::net::TcpStream::connect(listener.local_addr())?;
        let (there, _) = listener.accept().await?;
        let told = Told::new();
        let driving = drive(there, told.clone());
        turns_until(&told, "connected").await;
        told.transport().write("nobody reads this").await?;
        // A close over what was not read is a reset.
        drop(here);
        let failure = driving.await.unwrap_err();
        assert_eq!(kind(&failure), io::ErrorKind::ConnectionReset);
        assert_eq!(told.log().len(), 2, "{:?}", told.log());
        Ok(())
    });
}

#[test]
fn a_request_before_the_first_turn_calls_nothing() {
    let mut world = World::new();
    let (stream, peer) = world.connection();
    let told = Told::new();
    let held = flow({
        let told = told.clone();
        async move {
            // A flow in a flow begins when this one waits.
            let driving: Deferred<()> = drive(stream, told);
            driving.cancel();
            Ok(matches!(driving.settled().await, thence_core::Outcome::Stop(Stop::Cancelled)))
        }
    });
    let held = watch(held);
    world.settle();
    assert!(held.ok());
    assert!(matches!(told.log().len(), 0 | 2), "{:?}", told.log());
    assert_eq!(peer.send("x"), 0);
}
