//! Bugs that other drivers had and published, each under its number, on every driver here.
//!
//! Where one has no meaning on these drivers, that is said here, so that the next driver (which may
//! give it one) finds the list:
//!
//! * axboe/liburing#778, #1275, #1320, #1433, #1545 (provided buffers run out, or are counted
//!   wrong), compio#927 (a buffer id that nobody checked): the kernel chooses no buffer of ours.
//! * axboe/liburing#1462, oferchen/rsync#7600 (a send that ends twice): no zero-copy sends.
//! * axboe/liburing#643 (linked timeouts are slow): every timeout is a timer of the wheel.
//! * axboe/liburing#811, #1150, lnx-search/i2o2#18, ClickHouse/silk#106 (which way to wake a ring):
//!   costs, not faults; that no wake is lost is `zio_494`.
//! * axboe/liburing#835, cloud-hypervisor#8408 (a closed ring still writes into buffers): nothing
//!   is written but inside a call of ours; that a dropped driver lets go is `compio_943`.
//! * tokio#7691, docker/for-mac#7707, web-frameworks#9467, trbritt/grommet#19 (io_uring is not
//!   allowed here): there is one rung on the ladder. `THENCE_DRIVER` with a name that no driver has
//!   is an error, in `signals.rs`.
//! * compio#850 (a use after free in its executor): the driver has no unsafe code.
//! * compio#572 (IOCP): no Windows.
//! * smol-rs/polling#250 (five system calls for one wait): a cost; `bench/` counts.

use std::{
    io::ErrorKind,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use thence_reactor::{
    DeferredExt, Elapsed, Reactor,
    driver::{
        Done, Driver, Key, Live, Op, Socket, SocketKind, is_cancelled, manual::Manual, ready::Ready,
    },
    net::{TcpListener, TcpStream},
};

use crate::{
    bench::{Bench, pattern},
    common::{ANY, ms, watch},
    sockets::{Listens, Tcp, connected},
    stage::Stage,
};

on_every_driver! { bench:
    compio_1025_a_key_ends_once,
    compio_1036_a_wake_during_a_full_turn_is_kept,
    compio_652_a_cancel_leaves_no_key,
    compio_674_keys_are_unique_under_load,
    compio_746_a_cancelled_receive_keeps_no_buffer,
    compio_928_a_waker_interrupts_a_wait,
    compio_938_a_client_that_disconnects_at_once_is_an_ordinary_one,
    compio_943_and_769_a_dropped_driver_lets_go_of_all_it_held,
    liburing_733_a_cancelled_send_keeps_its_buffer_until_its_end,
    liburing_782_a_descriptor_is_not_closed_under_an_operation,
    liburing_932_and_568_a_pending_receive_does_not_withhold_the_end,
    libuv_3991_tokio_8277_and_compio_11_more_ends_than_one_turn_takes,
    tokio_7983_a_cancelled_accept_or_connect_leaks_no_descriptor,
}

on_every_driver! { stage:
    liburing_932_a_transport_with_an_idle_read_says_its_end,
    tokio_7983_a_connect_cancelled_at_any_turn_leaks_no_descriptor,
    tonbo_an_accept_left_under_a_timeout_loses_no_connection,
    zio_494_and_503_no_wake_of_another_thread_is_lost,
}

/// A completion that came twice freed its key twice. It must name nothing by then.
fn compio_1025_a_key_ends_once(bench: &mut Bench) {
    let (ours, peer) = connected::<Tcp>(bench);
    for round in 0..100 {
        let key = bench.recv(&ours, 1);
        bench.sent(&peer, [round]);
        bench.cancel(key);
        bench.cancel(key);
        match bench.end(key) {
            Ok(Done::Received(bytes)) => assert_eq!(bytes[..], [round]),
            Err(error) => {
                assert!(is_cancelled(&error));
                assert_eq!(bench.received(&ours, 1)[..], [round]);
            }
            other => panic!("{other:?}"),
        }
        bench.cancel(key);
    }
}

/// Every operation that was cancelled left its key behind.
fn compio_652_a_cancel_leaves_no_key(bench: &mut Bench) {
    let (ours, _peer) = connected::<Tcp>(bench);
    let mut highest = 0;
    for _ in 0..1000 {
        let key = bench.recv(&ours, 1);
        highest = highest.max(key.index());
        bench.turn(Duration::ZERO);
        bench.take_back(key);
        assert_eq!(bench.live().operations, 0);
    }
    assert!(highest < 8, "slots are used again: {highest}");
}

/// Under load, two operations had one key. `Bench::submit` checks it each time.
fn compio_674_keys_are_unique_under_load(bench: &mut Bench) {
    let pairs: Vec<_> = (0..20).map(|_| bench.driver().pair(SocketKind::Stream).unwrap()).collect();
    for round in 0..50_u8 {
        let receives: Vec<Key> = pairs.iter().map(|(ours, _)| bench.recv(ours, 1)).collect();
        let sends: Vec<Key> = pairs.iter().map(|(_, peer)| bench.send(peer, [round])).collect();
        for (n, key) in receives.into_iter().enumerate() {
            if n % 3 == 0 {
                bench.cancel(key);
            }
            match bench.end(key) {
                Ok(Done::Received(bytes)) => assert_eq!(bytes[..], [round]),
                Err(error) => {
                    assert!(is_cancelled(&error));
                    assert_eq!(bench.received(&pairs[n].0, 1)[..], [round]);
                }
                other => panic!("{other:?}"),
            }
        }
        for key in sends {
            bench.done(key);
        }
    }
}

/// The kernel had chosen a buffer for it, which nobody gave back: after as many cancels as there
/// were buffers, nothing was received any more.
fn compio_746_a_cancelled_receive_keeps_no_buffer(bench: &mut Bench) {
    let (ours, peer) = connected::<Tcp>(bench);
    for _ in 0..2000 {
        let key = bench.recv(&ours, 64 * 1024);
        bench.cancel(key);
        assert!(is_cancelled(&bench.end(key).unwrap_err()));
    }
    bench.sent(&peer, "still received");
    assert_eq!(bench.received(&ours, 100), "still received");
}

/// It panicked, that the operation was not of the kind that goes on.
fn compio_938_a_client_that_disconnects_at_once_is_an_ordinary_one(bench: &mut Bench) {
    let (listener, addr) = Tcp::listen(bench);
    let accepts: Vec<Key> = (0..20).map(|_| bench.accept(&listener)).collect();
    bench.settle();
    for n in 0..20 {
        match n % 2 {
            0 => bench.outside().connect_and_reset(&addr),
            _ => drop(bench.connect(&addr)),
        }
    }
    for key in accepts {
        let Done::Accepted(socket, _) = bench.done(key) else { panic!("accepts") };
        let recv = bench.recv(&socket, 10);
        match bench.end(recv) {
            Ok(Done::Received(bytes)) => assert_eq!(bytes, ""),
            other => assert_eq!(other.unwrap_err().kind(), ErrorKind::ConnectionReset),
        }
    }
}

/// Buffers of pending operations were freed too early, or never.
fn compio_943_and_769_a_dropped_driver_lets_go_of_all_it_held(bench: &mut Bench) {
    let (listener, addr) = Tcp::listen(bench);
    let (ours, peer) = connected::<Tcp>(bench);
    bench.fill(&ours);
    for n in 0..10 {
        bench.send(&ours, vec![n; 1000]);
        bench.recv(&ours, 10);
        bench.accept(&listener);
        bench.settle();
        bench.submit(Op::Connect { to: addr.clone() });
    }
    drop((listener, ours));
    let live = bench.live();
    assert!(live.operations > 0 && live.unsent == 10_000, "{live:?}");
    bench.drop_driver();
    drop(peer);
}

/// "Since a CQE will be posted regardless for the original request, you should keep the buffer
/// alive until you get a CQE."
fn liburing_733_a_cancelled_send_keeps_its_buffer_until_its_end(bench: &mut Bench) {
    let (ours, _peer) = connected::<Tcp>(bench);
    bench.fill(&ours);
    let key = bench.send(&ours, vec![1; 1000]);
    bench.assert_pending(key);
    bench.cancel(key);
    let live = bench.live();
    assert_eq!((live.operations, live.unsent), (1, 1000));
    assert!(is_cancelled(&bench.end(key).unwrap_err()));
    assert_eq!((bench.live().operations, bench.live().unsent), (0, 0));
}

/// "You need to wait for completions or order close requests."
fn liburing_782_a_descriptor_is_not_closed_under_an_operation(bench: &mut Bench) {
    let (ours, peer) = connected::<Tcp>(bench);
    let open = bench.live().sockets;
    let keys = [bench.recv(&ours, 1), bench.recv(&ours, 1)];
    drop(ours);
    // What opens now must not get its descriptor, or it would get its bytes.
    let (next, _next_peer) = connected::<Tcp>(bench);
    bench.sent(&peer, "a");
    assert!(matches!(bench.end(keys[0]), Ok(Done::Received(bytes)) if bytes == "a"));
    assert_eq!(bench.live().sockets, open + 2);
    bench.sent(&peer, "b");
    assert!(matches!(bench.end(keys[1]), Ok(Done::Received(bytes)) if bytes == "b"));
    bench.assert_silent(&next);
    assert_eq!(bench.live().sockets, open + 1, "and with its last operation it closes");
}

/// Closing does not end what is pending, and what is pending keeps the socket open, so that the
/// peer is never told.
fn liburing_932_and_568_a_pending_receive_does_not_withhold_the_end(bench: &mut Bench) {
    let (ours, peer) = connected::<Tcp>(bench);
    let pending = bench.recv(&ours, 1);
    bench.assert_pending(pending);
    // Shut down, it is said at once, whatever is pending.
    ours.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(bench.received(&peer, 1), "");
    bench.take_back(pending);

    let (ours, peer) = connected::<Tcp>(bench);
    let pending = bench.recv(&ours, 1);
    bench.assert_pending(pending);
    drop(ours);
    bench.take_back(pending);
    assert_eq!(bench.received(&peer, 1), "", "cancelled, it has closed");
}

fn liburing_932_a_transport_with_an_idle_read_says_its_end(stage: &mut Stage) {
    let listener = TcpListener::bind(ANY).unwrap();
    let connecting = watch(TcpStream::connect(listener.local_addr()));
    let (theirs, _) = stage.ok(listener.accept());
    stage.until(&connecting);
    let ours = connecting.ok();
    let read = ours.read(10);
    stage.settle();
    drop(ours);
    drop(read);
    assert_eq!(stage.ok(theirs.read(10)), "");
}

/// A full completion queue: libuv and tokio hung, compio failed. Here the poll tells of no more at
/// once than a turn takes, and the rest has to come in the next.
fn libuv_3991_tokio_8277_and_compio_11_more_ends_than_one_turn_takes(bench: &mut Bench) {
    let pairs: Vec<_> =
        (0..600).map(|_| bench.driver().pair(SocketKind::Stream).unwrap()).collect();
    for round in 0..3_u8 {
        let receives: Vec<Key> = pairs.iter().map(|(ours, _)| bench.recv(ours, 9)).collect();
        bench.settle();
        let sends: Vec<Key> = pairs.iter().map(|(_, peer)| bench.send(peer, [round])).collect();
        for key in receives {
            assert!(matches!(bench.end(key), Ok(Done::Received(bytes)) if bytes[..] == [round]));
        }
        for key in sends {
            bench.done(key);
        }
    }
}

/// A wake was lost when the queue of submissions was full: whoever waited, waited for ever.
fn compio_1036_a_wake_during_a_full_turn_is_kept(bench: &mut Bench) {
    let wake = bench.driver().waker();
    for _ in 0..20 {
        let (ours, peer) = connected::<Tcp>(bench);
        let keys: Vec<Key> = (0..300).map(|_| bench.recv(&ours, 1)).collect();
        bench.sent(&peer, &pattern()[..300]);
        for key in keys {
            bench.done(key);
        }
        wake();
        bench.wait_for_wake();
    }
}

/// The waker did not interrupt a wait that was on already.
fn compio_928_a_waker_interrupts_a_wait(bench: &mut Bench) {
    let wake = bench.driver().waker();
    if bench.driver().as_fd().is_none() {
        // It never waits, and nothing can come meanwhile.
        return wake();
    }
    for _ in 0..200 {
        let wake = wake.clone();
        let other = thread::spawn(move || wake());
        bench.wait_for_wake();
        other.join().unwrap();
    }
}

/// An `open` that was cancelled had opened all the same, and nobody closed it.
fn tokio_7983_a_cancelled_accept_or_connect_leaks_no_descriptor(bench: &mut Bench) {
    let (listener, addr) = Tcp::listen(bench);
    for turns in 0..4 {
        let keys = [bench.submit(Op::Connect { to: addr.clone() }), bench.accept(&listener)];
        (0..turns).for_each(|_| bench.turn(Duration::ZERO));
        for key in keys {
            bench.cancel(key);
            // Whatever it brought is in the result, and closes with it.
            drop(bench.end(key));
        }
        while bench.accept_now(&listener).is_ok() {}
        assert_eq!(bench.live(), expected(1));
    }
}

fn tokio_7983_a_connect_cancelled_at_any_turn_leaks_no_descriptor(stage: &mut Stage) {
    let listener = TcpListener::bind(ANY).unwrap();
    for turns in 0..5 {
        let connecting = TcpStream::connect(listener.local_addr());
        (0..turns).for_each(|_| stage.turn());
        connecting.cancel();
        drop(connecting);
        stage.settle();
        let accept = listener.accept();
        stage.settle();
        drop(accept);
    }
    // Those it accepted for nobody close with it.
    drop(listener);
    stage.settle();
    assert_eq!(stage.live().driver, expected(0));
}

/// From "Async Rust is not safe with io_uring" (2024): of an accept under a timeout, the kernel had
/// accepted and the future was gone; the connection hung.
fn tonbo_an_accept_left_under_a_timeout_loses_no_connection(stage: &mut Stage) {
    let listener = TcpListener::bind(ANY).unwrap();
    for turns in 0..5 {
        let limited = watch(listener.accept().timeout(ms(1)));
        let client = stage.ok(TcpStream::connect(listener.local_addr()));
        (0..turns).for_each(|_| stage.turn());
        stage.until(&limited);
        match limited.take() {
            Some(thence_core::Outcome::Ok((stream, from))) => {
                assert_eq!(from, client.local_addr().unwrap());
                drop(stream);
            }
            Some(thence_core::Outcome::Err(failure)) => {
                assert!(failure.is::<Elapsed>());
                let (_, from) = stage.ok(listener.accept());
                assert_eq!(from, client.local_addr().unwrap());
            }
            _ => panic!("a timeout stops nothing"),
        }
        // And one that was left with its connection.
        let left = listener.accept().timeout(ms(3_600_000));
        let client = stage.ok(TcpStream::connect(listener.local_addr()));
        (0..turns).for_each(|_| stage.turn());
        drop(left);
        let (_, from) = stage.ok(listener.accept());
        assert_eq!(from, client.local_addr().unwrap());
    }
}

/// Wakes came late or were lost, so zio moved from one way of waking to another.
fn zio_494_and_503_no_wake_of_another_thread_is_lost(stage: &mut Stage) {
    const CALLS: usize = 500;
    let handle = stage.reactor().handle();
    let called = Arc::new(AtomicUsize::new(0));
    let seen = called.clone();
    let other = thread::spawn(move || {
        for n in 0..CALLS {
            let count = seen.clone();
            let call = move || {
                count.fetch_add(1, Ordering::Relaxed);
            };
            handle.call(call).unwrap();
            // Each is answered before the next: a wake that is lost leaves both waiting.
            while seen.load(Ordering::Relaxed) <= n {
                thread::yield_now();
            }
        }
    });
    while called.load(Ordering::Relaxed) < CALLS {
        stage.wait_for_wake();
    }
    other.join().unwrap();
}

/// A driver that moves to another thread takes its sockets from those who hold them here. This is
/// the compiler's to say: with `Send`, the two implementations of `NotSend` overlap.
#[test]
fn compio_727_neither_driver_nor_socket_nor_reactor_is_send() {
    trait NotSend<A> {
        fn holds() -> bool {
            true
        }
    }
    struct IsSend;
    impl<T: ?Sized> NotSend<()> for T {}
    impl<T: ?Sized + Send> NotSend<IsSend> for T {}

    assert!(<Ready as NotSend<_>>::holds());
    assert!(<Manual as NotSend<_>>::holds());
    assert!(<Box<dyn Driver> as NotSend<_>>::holds());
    assert!(<Socket as NotSend<_>>::holds());
    assert!(<Reactor as NotSend<_>>::holds());
    assert!(<TcpStream as NotSend<_>>::holds());
}

fn expected(sockets: usize) -> Live {
    let mut live = Live::default();
    live.sockets = sockets;
    live
}
