//! What every driver must do that is not of one operation alone.

use std::{io::ErrorKind, time::Duration};

use bytes::{Bytes, BytesMut};
use thence_reactor::driver::{
    ACCEPTS_PER_TURN, Buffers, COMPLETIONS_PER_TURN, Done, Key, Op, Socket, is_cancelled,
    manual::Manual, ready::Ready,
};

use crate::{
    bench::{Bench, pattern},
    count::counted,
    sockets::{Datagrams, Listens, Streams, Tcp, Udp, UnixDatagrams, connected},
};

on_every_driver! { bench:
    a_connection_nobody_takes_is_refused,
    a_datagram_is_cut_at_what_was_asked_for,
    a_datagram_to_a_full_socket_of_somebody_else_says_so,
    a_foreign_socket_is_refused,
    a_port_in_use_is_an_error,
    a_send_says_how_far_it_came,
    a_wait_is_not_short,
    a_waker_ends_the_next_wait,
    accepts_are_bounded_and_none_is_forgotten,
    an_accept_that_does_not_wait_says_so,
    an_operation_keeps_its_descriptor,
    an_operation_that_does_not_suit_its_socket_is_refused,
    both_directions_wait_at_once,
    bytes_arrive_in_order,
    completions_are_bounded_and_none_is_forgotten,
    much_goes_through,
    one_receive_brings_all_of_a_stream_and_its_end,
    operations_on_one_socket_end_in_their_order,
    the_end_comes_after_the_bytes_and_stays,
    what_is_sent_now_comes_before_what_is_sent_later,
}

fn bytes_arrive_in_order(bench: &mut Bench) {
    let (a, b) = connected::<Tcp>(bench);
    let buffers = ["one ", "", "two"].into_iter().map(counted).collect();
    let sent = bench.submit(Op::Send { socket: a.clone(), buffers });
    assert!(matches!(bench.end(sent), Ok(Done::Sent(7))));
    assert_eq!(bench.received(&b, 2), "on");
    assert_eq!(bench.received(&b, 100), "e two");
    let later = bench.recv(&b, 100);
    bench.assert_pending(later);
    bench.sent(&a, "three");
    assert!(matches!(bench.end(later), Ok(Done::Received(bytes)) if bytes == "three"));
}

fn operations_on_one_socket_end_in_their_order(bench: &mut Bench) {
    let (a, b) = connected::<Tcp>(bench);
    let receives: Vec<Key> = (0..10).map(|_| bench.recv(&b, 1)).collect();
    bench.settle();
    let sends: Vec<Key> = (0..10).map(|n| bench.send(&a, [n])).collect();
    for (n, key) in receives.into_iter().enumerate() {
        assert!(matches!(bench.end(key), Ok(Done::Received(bytes)) if bytes[..] == [n as u8]));
    }
    for key in sends {
        bench.done(key);
    }
}

fn one_receive_brings_all_of_a_stream_and_its_end(bench: &mut Bench) {
    let (a, b) = connected::<Tcp>(bench);
    let much = pattern().slice(..1_000_000);
    let many = bench.submit(Op::RecvMany { socket: b });
    let sent = bench.submit(Op::Send { socket: a.clone(), buffers: Buffers::from(much.clone()) });
    let mut got = BytesMut::new();
    while got.len() < much.len() {
        let Done::Received(bytes) = bench.done(many) else { panic!("receives") };
        got.extend_from_slice(&bytes);
    }
    assert!(got == much);
    bench.done(sent);
    bench.assert_pending(many);
    bench.sent(&a, "last");
    drop(a);
    assert!(matches!(bench.done(many), Done::Received(bytes) if bytes == "last"));
    assert!(matches!(bench.done(many), Done::Received(bytes) if bytes.is_empty()));
    assert!(bench.has_ended(many));
}

/// A driver that can sends at once what goes out at once, and takes an operation for the rest.
fn what_is_sent_now_comes_before_what_is_sent_later(bench: &mut Bench) {
    let (a, b) = connected::<Tcp>(bench);
    let much = pattern();
    let mut sent = 0;
    let rest = loop {
        let piece = much.slice(sent..(sent + 100_000).min(much.len()));
        let mut buffers = Buffers::from(piece.clone());
        let now = bench.driver().send_now(&a, &mut buffers).map_or(0, Result::unwrap);
        assert_eq!(buffers.len(), piece.len() - now, "what was sent is taken off");
        sent += now;
        if !buffers.is_empty() {
            break buffers;
        }
    };
    let len = sent + rest.len();
    let later = bench.submit(Op::Send { socket: a.clone(), buffers: rest });
    let refused = bench.driver().send_now(&a, &mut Buffers::from(counted("between")));
    assert!(refused.is_none(), "it would come between");
    let mut got = BytesMut::new();
    while got.len() < len {
        got.extend_from_slice(&bench.received(&b, usize::MAX));
    }
    assert!(got == much[..len]);
    bench.done(later);
}

fn the_end_comes_after_the_bytes_and_stays(bench: &mut Bench) {
    let (a, b) = connected::<Tcp>(bench);
    bench.sent(&a, "last words");
    drop(a);
    assert_eq!(bench.received(&b, 4), "last");
    assert_eq!(bench.received(&b, 100), " words");
    assert_eq!(bench.received(&b, 100), "");
    assert_eq!(bench.received(&b, 100), "");
}

fn both_directions_wait_at_once(bench: &mut Bench) {
    let (a, b) = connected::<Tcp>(bench);
    let filled = bench.fill(&a);
    let (recv, send) = (bench.recv(&a, 100), bench.send(&a, "!"));
    bench.assert_pending(recv);
    assert!(!bench.has_ended(send));
    bench.sent(&b, "in");
    assert!(matches!(bench.end(recv), Ok(Done::Received(bytes)) if bytes == "in"));
    assert!(!bench.has_ended(send));
    let mut got = 0;
    while got < filled + 1 {
        got += bench.received(&b, usize::MAX).len();
    }
    bench.done(send);
}

fn a_send_says_how_far_it_came(bench: &mut Bench) {
    let (a, b) = connected::<Tcp>(bench);
    let much = pattern();
    let sent = bench.submit(Op::Send { socket: a.clone(), buffers: Buffers::from(much.clone()) });
    bench.assert_pending(sent);
    bench.cancel(sent);
    let Ok(Done::Sent(part)) = bench.end(sent) else { panic!("it was half-way") };
    assert!(part > 0 && part < much.len());
    drop(a);
    let mut got = BytesMut::new();
    loop {
        let bytes = bench.received(&b, usize::MAX);
        if bytes.is_empty() {
            break;
        }
        got.extend_from_slice(&bytes);
    }
    assert!(got == much[..part]);
}

fn much_goes_through(bench: &mut Bench) {
    let (a, b) = connected::<Tcp>(bench);
    let much = pattern().slice(..4_000_000);
    let sent = bench.submit(Op::Send { socket: a.clone(), buffers: Buffers::from(much.clone()) });
    let mut got = BytesMut::new();
    while got.len() < much.len() {
        got.extend_from_slice(&bench.received(&b, usize::MAX));
    }
    assert!(got == much);
    assert!(matches!(bench.end(sent), Ok(Done::Sent(n)) if n == much.len()));
}

fn an_operation_keeps_its_descriptor(bench: &mut Bench) {
    let (a, b) = connected::<Tcp>(bench);
    let waiting = bench.recv(&a, 100);
    drop(a);
    bench.assert_pending(waiting);
    bench.sent(&b, "still here");
    assert!(matches!(bench.end(waiting), Ok(Done::Received(bytes)) if bytes == "still here"));
    // With its last operation it closed.
    assert_eq!(bench.received(&b, 100), "");
}

fn accepts_are_bounded_and_none_is_forgotten(bench: &mut Bench) {
    let (listener, addr) = Tcp::listen(bench);
    let many = ACCEPTS_PER_TURN * 2 + 10;
    // They are kept, or they would be gone before they are accepted.
    let _ours: Vec<Socket> = (0..many).map(|_| bench.connect(&addr)).collect();
    let accepts: Vec<Key> = (0..many).map(|_| bench.accept(&listener)).collect();
    let mut turns = 0;
    while bench.unseen() < many {
        let before = bench.unseen();
        bench.turn(Duration::from_millis(100));
        assert!(bench.unseen() - before <= ACCEPTS_PER_TURN);
        turns += 1;
        assert!(turns < 200, "it went to sleep on {} of {many}", bench.unseen());
    }
    assert!(turns >= 3);
    for key in accepts {
        assert!(matches!(bench.end(key), Ok(Done::Accepted(..))));
    }
}

fn completions_are_bounded_and_none_is_forgotten(bench: &mut Bench) {
    let (a, b) = connected::<Tcp>(bench);
    let many = COMPLETIONS_PER_TURN * 2 + 10;
    bench.sent(&a, &pattern()[..many]);
    let receives: Vec<Key> = (0..many).map(|_| bench.recv(&b, 1)).collect();
    let mut turns = 0;
    while bench.unseen() < many {
        let before = bench.unseen();
        bench.turn(Duration::from_millis(100));
        assert!(bench.unseen() - before <= COMPLETIONS_PER_TURN);
        turns += 1;
        assert!(turns < 200, "it went to sleep on {} of {many}", bench.unseen());
    }
    assert!(turns >= 3);
    for (key, byte) in receives.into_iter().zip(pattern().iter()) {
        assert!(matches!(bench.end(key), Ok(Done::Received(bytes)) if bytes[..] == [*byte]));
    }
}

fn an_accept_that_does_not_wait_says_so(bench: &mut Bench) {
    let (listener, addr) = Tcp::listen(bench);
    let _ours = bench.connect(&addr);
    assert!(matches!(bench.accept_now(&listener), Ok(Done::Accepted(..))));
    let waiting = bench.accept(&listener);
    bench.assert_pending(waiting);
    for _ in 0..2 {
        assert_eq!(bench.accept_now(&listener).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    let _ours = bench.connect(&addr);
    assert!(matches!(bench.end(waiting), Ok(Done::Accepted(..))));
}

fn a_datagram_is_cut_at_what_was_asked_for(bench: &mut Bench) {
    for (receiver, sender, to) in [Udp::ends(bench), UnixDatagrams::ends(bench)] {
        for text in ["long", "", "next"] {
            let (socket, bytes) = (sender.clone(), counted(text));
            let key = bench.submit(Op::SendTo { socket, bytes, to: to.clone() });
            assert!(matches!(bench.end(key), Ok(Done::Sent(n)) if n == text.len()));
        }
        // An empty one is one.
        for text in ["lo", "", "ne"] {
            let key = bench.submit(Op::RecvFrom { socket: receiver.clone(), max: 2 });
            assert!(matches!(bench.end(key), Ok(Done::ReceivedFrom(bytes, _)) if bytes == text));
        }
    }
}

/// No edge would say when there is room again, so a wait might have no end.
fn a_datagram_to_a_full_socket_of_somebody_else_says_so(bench: &mut Bench) {
    let (receiver, sender, to) = UnixDatagrams::ends(bench);
    let mut went = 0;
    let refused = loop {
        let (socket, bytes) = (sender.clone(), counted("one of many"));
        let key = bench.submit(Op::SendTo { socket, bytes, to: to.clone() });
        match bench.end(key) {
            Ok(_) => went += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused.kind(), ErrorKind::WouldBlock);
    for _ in 0..went {
        let key = bench.submit(Op::RecvFrom { socket: receiver.clone(), max: 100 });
        bench.done(key);
    }
    let key = bench.submit(Op::SendTo { socket: sender, bytes: Bytes::new(), to });
    bench.done(key);
}

fn an_operation_that_does_not_suit_its_socket_is_refused(bench: &mut Bench) {
    let (listener, _) = Tcp::listen(bench);
    let (stream, _peer) = Tcp::ends(bench);
    let (datagrams, _sender, _) = Udp::ends(bench);
    let buffers = || Buffers::from(counted("x"));
    let ops = [
        Op::Accept { listener: stream.clone(), wait: true },
        Op::Recv { socket: listener.clone(), max: 1 },
        Op::Recv { socket: datagrams.clone(), max: 1 },
        Op::RecvMany { socket: listener.clone() },
        Op::RecvMany { socket: datagrams.clone() },
        Op::RecvFrom { socket: stream.clone(), max: 1 },
        Op::Send { socket: listener, buffers: buffers() },
        Op::Send { socket: datagrams, buffers: buffers() },
        Op::SendTo { socket: stream, bytes: counted("x"), to: None },
    ];
    for op in ops {
        let said = format!("{op:?}");
        let key = bench.submit(op);
        assert_eq!(bench.end(key).unwrap_err().kind(), ErrorKind::InvalidInput, "{said}");
    }
}

fn a_connection_nobody_takes_is_refused(bench: &mut Bench) {
    let (listener, addr) = Tcp::listen(bench);
    drop(listener);
    let connect = bench.submit(Op::Connect { to: addr });
    assert_eq!(bench.end(connect).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

fn a_port_in_use_is_an_error(bench: &mut Bench) {
    let (_listener, addr) = Tcp::listen(bench);
    assert_eq!(bench.driver().listen(&addr).unwrap_err().kind(), ErrorKind::AddrInUse);
}

fn a_foreign_socket_is_refused(bench: &mut Bench) {
    let local = &crate::sockets::ANY_PORT;
    let mut others: [Box<dyn thence_reactor::driver::Driver>; 2] =
        [Box::new(Manual::new()), Box::new(Ready::new().unwrap())];
    let name = bench.driver().name();
    let other = others.iter_mut().find(|other| other.name() != name).expect("there are two");
    let foreign = other.listen(local).unwrap();
    let key = bench.accept(&foreign);
    assert_eq!(bench.end(key).unwrap_err().kind(), ErrorKind::Unsupported);
    // And a cancelled one was refused already.
    let key = bench.accept(&foreign);
    bench.cancel(key);
    let error = bench.end(key).unwrap_err();
    assert!(error.kind() == ErrorKind::Unsupported || is_cancelled(&error), "{error}");
}

fn a_waker_ends_the_next_wait(bench: &mut Bench) {
    let wake = bench.driver().waker();
    for wakes in 1..4 {
        (0..wakes).for_each(|_| wake());
        bench.wait_for_wake();
        assert_eq!(bench.unseen(), 0);
    }
}

fn a_wait_is_not_short(bench: &mut Bench) {
    let before = bench.driver().now();
    let wait = Duration::from_millis(3);
    // An interruption may cut a wait, which the loop above the driver expects.
    while bench.driver().now() < before + wait {
        bench.turn(wait);
    }
    assert_eq!(bench.unseen(), 0);
}
