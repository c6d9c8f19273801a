//! What every driver must do, run on each of them.

use std::{
    io::ErrorKind,
    time::{Duration, Instant},
};

use bytes::Bytes;
use thence_reactor::driver::{
    ACCEPTS_PER_TURN, Address, Buffers, Completion, Done, Driver, Key, Op, Socket, is_cancelled,
    manual::Manual, ready::Ready,
};

/// A driver, and what it has completed so far.
struct Bench {
    driver: Box<dyn Driver>,
    completed: Vec<Completion>,
}

impl Bench {
    fn new(driver: impl Driver) -> Self {
        Bench { driver: Box::new(driver), completed: Vec::new() }
    }

    /// The end of `key`, turning until it is there.
    fn end(&mut self, key: Key) -> std::io::Result<Done> {
        loop {
            if let Some(place) = self.completed.iter().position(|done| done.key == key) {
                return self.completed.remove(place).result;
            }
            self.driver.turn(Some(Duration::from_secs(10)), &mut self.completed).unwrap();
        }
    }

    /// Everything that ends without waiting.
    fn settle(&mut self) {
        for _ in 0..20 {
            self.driver.turn(Some(Duration::ZERO), &mut self.completed).unwrap();
        }
    }

    fn has_ended(&self, key: Key) -> bool {
        self.completed.iter().any(|done| done.key == key)
    }

    fn listen(&mut self) -> (Socket, Address) {
        let listener = self.driver.listen(&Address::Ip(([127, 0, 0, 1], 0).into())).unwrap();
        let addr = listener.local_addr().unwrap();
        (listener, addr)
    }

    fn connected(&mut self) -> (Socket, Socket) {
        let (listener, addr) = self.listen();
        let accept = self.driver.submit(Op::Accept { listener, wait: true });
        let connect = self.driver.submit(Op::Connect { to: addr.clone() });
        let Ok(Done::Connected(ours)) = self.end(connect) else { panic!("connects") };
        let Ok(Done::Accepted(theirs, from)) = self.end(accept) else { panic!("accepts") };
        assert_eq!(ours.local_addr().unwrap(), from);
        assert_eq!(ours.peer_addr().unwrap(), addr);
        (ours, theirs)
    }

    fn send(&mut self, socket: &Socket, bytes: impl Into<Bytes>) -> Key {
        let socket = socket.clone();
        self.driver.submit(Op::Send { socket, buffers: Buffers::from(bytes.into()) })
    }

    fn recv(&mut self, socket: &Socket, max: usize) -> Key {
        self.driver.submit(Op::Recv { socket: socket.clone(), max })
    }

    fn received(&mut self, socket: &Socket, max: usize) -> Bytes {
        let key = self.recv(socket, max);
        match self.end(key) {
            Ok(Done::Received(bytes)) => bytes,
            other => panic!("expected bytes, got {other:?}"),
        }
    }
}

fn bytes_arrive_in_order(mut bench: Bench) {
    let (a, b) = bench.connected();
    let buffers = ["one ", "", "two"].into_iter().map(Bytes::from).collect();
    let sent = bench.driver.submit(Op::Send { socket: a.clone(), buffers });
    assert!(matches!(bench.end(sent), Ok(Done::Sent(7))));
    assert_eq!(bench.received(&b, 2), "on");
    assert_eq!(bench.received(&b, 100), "e two");
    let later = bench.recv(&b, 100);
    bench.settle();
    assert!(!bench.has_ended(later));
    bench.send(&a, "three");
    assert!(matches!(bench.end(later), Ok(Done::Received(bytes)) if bytes == "three"));
}

fn the_end_of_a_stream_is_empty_and_stays(mut bench: Bench) {
    let (a, b) = bench.connected();
    bench.send(&a, "last words");
    bench.settle();
    drop(a);
    assert_eq!(bench.received(&b, 4), "last");
    assert_eq!(bench.received(&b, 100), " words");
    assert_eq!(bench.received(&b, 100), "");
    assert_eq!(bench.received(&b, 100), "");
}

fn a_cancelled_receive_loses_nothing(mut bench: Bench) {
    let (a, b) = bench.connected();
    // Nothing has come: it ends cancelled.
    let idle = bench.recv(&b, 100);
    bench.settle();
    bench.driver.cancel(idle);
    assert!(is_cancelled(&bench.end(idle).unwrap_err()));
    // Something came meanwhile, which either end delivers.
    bench.send(&a, "x");
    bench.settle();
    let racing = bench.recv(&b, 100);
    bench.driver.cancel(racing);
    match bench.end(racing) {
        Ok(Done::Received(bytes)) => assert_eq!(bytes, "x"),
        Err(error) => {
            assert!(is_cancelled(&error));
            assert_eq!(bench.received(&b, 100), "x");
        }
        other => panic!("{other:?}"),
    }
}

fn every_operation_ends_once(mut bench: Bench) {
    let (a, b) = bench.connected();
    bench.settle();
    bench.completed.clear();
    bench.send(&a, "x");
    bench.settle();
    let key = bench.recv(&b, 1);
    bench.settle();
    bench.driver.cancel(key);
    bench.driver.cancel(key);
    bench.settle();
    assert_eq!(bench.completed.iter().filter(|done| done.key == key).count(), 1);
    bench.completed.clear();
    // Its slot is another's by now, whom a stale cancel must not meet.
    let next = bench.recv(&b, 1);
    bench.driver.cancel(key);
    bench.settle();
    assert!(!bench.has_ended(next));
    bench.driver.cancel(next);
    bench.driver.cancel(next);
    bench.settle();
    assert_eq!(bench.completed.iter().filter(|done| done.key == next).count(), 1);
}

fn a_send_waits_for_a_reader_and_says_how_far_it_came(mut bench: Bench) {
    let (a, b) = bench.connected();
    let much = Bytes::from(vec![7; 16 << 20]);
    let sent = bench.send(&a, much.clone());
    bench.settle();
    assert!(!bench.has_ended(sent));
    bench.driver.cancel(sent);
    let Ok(Done::Sent(part)) = bench.end(sent) else { panic!("it was half-way") };
    assert!(part > 0 && part < much.len());
    drop(a);
    let mut got = 0;
    loop {
        let bytes = bench.received(&b, usize::MAX);
        if bytes.is_empty() {
            break;
        }
        got += bytes.len();
    }
    assert_eq!(got, part);
}

fn much_goes_through(mut bench: Bench) {
    let (a, b) = bench.connected();
    let much: Bytes = (0..4_000_000_u32).map(|n| n as u8).collect();
    let sent = bench.send(&a, much.clone());
    let mut got = Vec::new();
    while got.len() < much.len() {
        got.extend_from_slice(&bench.received(&b, usize::MAX));
    }
    assert!(got == much);
    assert!(matches!(bench.end(sent), Ok(Done::Sent(n)) if n == much.len()));
}

fn an_operation_keeps_its_descriptor(mut bench: Bench) {
    let (a, b) = bench.connected();
    let waiting = bench.recv(&a, 100);
    drop(a);
    bench.settle();
    bench.send(&b, "still here");
    assert!(matches!(bench.end(waiting), Ok(Done::Received(bytes)) if bytes == "still here"));
    // With its last operation it closed.
    assert_eq!(bench.received(&b, 100), "");
}

fn accepts_are_bounded_and_none_is_forgotten(mut bench: Bench) {
    let (listener, addr) = bench.listen();
    let many = ACCEPTS_PER_TURN * 2 + 10;
    let connects: Vec<Key> =
        (0..many).map(|_| bench.driver.submit(Op::Connect { to: addr.clone() })).collect();
    // They are kept, or they would be gone before they are accepted.
    let _ours: Vec<_> = connects.into_iter().map(|key| bench.end(key).unwrap()).collect();
    let accepts: Vec<Key> = (0..many)
        .map(|_| bench.driver.submit(Op::Accept { listener: listener.clone(), wait: true }))
        .collect();
    let mut turns = 0;
    while bench.completed.len() < many {
        let before = bench.completed.len();
        bench.driver.turn(Some(Duration::from_secs(10)), &mut bench.completed).unwrap();
        assert!(bench.completed.len() - before <= ACCEPTS_PER_TURN);
        turns += 1;
    }
    assert!(turns >= 2);
    for key in accepts {
        assert!(matches!(bench.end(key), Ok(Done::Accepted(..))));
    }
}

fn an_accept_that_does_not_wait_says_so(mut bench: Bench) {
    let (listener, addr) = bench.listen();
    let connect = bench.driver.submit(Op::Connect { to: addr.clone() });
    let _ours = bench.end(connect).unwrap();
    let there = bench.driver.submit(Op::Accept { listener: listener.clone(), wait: false });
    assert!(matches!(bench.end(there), Ok(Done::Accepted(..))));
    let waiting = bench.driver.submit(Op::Accept { listener: listener.clone(), wait: true });
    bench.settle();
    for _ in 0..2 {
        let none = bench.driver.submit(Op::Accept { listener: listener.clone(), wait: false });
        assert_eq!(bench.end(none).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    let connect = bench.driver.submit(Op::Connect { to: addr.clone() });
    let _ours = bench.end(connect).unwrap();
    assert!(matches!(bench.end(waiting), Ok(Done::Accepted(..))));
}

fn a_connection_nobody_takes_is_refused(mut bench: Bench) {
    let (listener, addr) = bench.listen();
    drop(listener);
    let connect = bench.driver.submit(Op::Connect { to: addr.clone() });
    assert_eq!(bench.end(connect).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

fn a_port_in_use_is_an_error(mut bench: Bench) {
    let (_listener, addr) = bench.listen();
    assert_eq!(bench.driver.listen(&addr).unwrap_err().kind(), ErrorKind::AddrInUse);
}

fn a_foreign_socket_is_refused(mut bench: Bench) {
    let foreign = match bench.driver.name() {
        "manual" => Bench::new(Ready::new().unwrap()).listen().0,
        _ => Bench::new(Manual::new()).listen().0,
    };
    let key = bench.driver.submit(Op::Accept { listener: foreign, wait: true });
    assert_eq!(bench.end(key).unwrap_err().kind(), ErrorKind::Unsupported);
}

fn a_waker_ends_the_wait(mut bench: Bench) {
    let wake = bench.driver.waker();
    wake();
    // It was before the wait, and from another thread it may be.
    bench.driver.turn(None, &mut bench.completed).unwrap();
    if bench.driver.name() == "ready" {
        let other = std::thread::spawn(move || wake());
        bench.driver.turn(None, &mut bench.completed).unwrap();
        other.join().unwrap();
    }
    assert!(bench.completed.is_empty());
}

fn a_wait_is_not_short(mut bench: Bench) {
    let before: Instant = bench.driver.now();
    let wait = Duration::from_millis(3);
    // An interruption may cut a wait, which the loop above the driver expects.
    while bench.driver.now() < before + wait {
        bench.driver.turn(Some(wait), &mut bench.completed).unwrap();
    }
    assert!(bench.completed.is_empty());
}

macro_rules! on_every_driver {
    ($($behaviour:ident,)*) => {
        mod manual { $(
            #[test]
            fn $behaviour() {
                super::$behaviour(super::Bench::new(super::Manual::new()));
            }
        )* }
        mod ready { $(
            #[test]
            fn $behaviour() {
                super::$behaviour(super::Bench::new(super::Ready::new().unwrap()));
            }
        )* }
    };
}

on_every_driver! {
    a_cancelled_receive_loses_nothing,
    a_connection_nobody_takes_is_refused,
    a_foreign_socket_is_refused,
    a_port_in_use_is_an_error,
    a_send_waits_for_a_reader_and_says_how_far_it_came,
    a_wait_is_not_short,
    a_waker_ends_the_wait,
    accepts_are_bounded_and_none_is_forgotten,
    an_accept_that_does_not_wait_says_so,
    an_operation_keeps_its_descriptor,
    bytes_arrive_in_order,
    every_operation_ends_once,
    much_goes_through,
    the_end_of_a_stream_is_empty_and_stays,
}
