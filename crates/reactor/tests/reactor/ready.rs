//! The whole reactor on real sockets, threads and descriptors.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream as StdStream},
    os::fd::AsFd,
    thread,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use thence_core::{Failure, all, flow, hosting};
use thence_reactor::{
    DeferredExt, Elapsed, Reactor, after, draining,
    net::{TcpListener, TcpStream, UnixStream},
    run,
};

use crate::common::{ANY, ms, watch};

async fn echo(stream: TcpStream) -> Result<(), Failure> {
    loop {
        let bytes = stream.read(16 * 1024).await?;
        if bytes.is_empty() {
            return Ok(());
        }
        stream.write(bytes).await?;
    }
}

fn serve_echo() -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind(ANY)?;
    let addr = listener.local_addr();
    flow::<()>(async move {
        loop {
            let (stream, _) = listener.accept().await?;
            flow(echo(stream)).report();
        }
    })
    .report();
    Ok(addr)
}

#[test]
fn many_connections_echo_many_messages() {
    run(async {
        let addr = serve_echo()?;
        let clients = (0..50).map(|n| {
            flow(async move {
                let stream = TcpStream::connect(addr).await?;
                for round in 0..40 {
                    let message = format!("client {n:2} round {round:2}");
                    stream.write(message.clone()).await?;
                    assert_eq!(stream.read_exact(message.len()).await?, message);
                }
                Ok(())
            })
        });
        all(clients).await?;
        Ok(())
    })
    .unwrap();
    assert_eq!(hosting::live().flows, 0);
}

#[test]
fn whatever_clients_do_to_their_connections_the_loop_goes_on() {
    use std::cell::Cell;

    let before = thence_core::unhandled();
    let ended = std::rc::Rc::new(Cell::new(0));
    let count = ended.clone();
    run(async move {
        let listener = TcpListener::bind(ANY)?;
        let addr = listener.local_addr();
        flow::<()>(async move {
            loop {
                let (stream, _) = listener.accept().await?;
                let count = count.clone();
                // A reset is an error of that connection, which is expected here.
                flow(echo(stream)).recover(|_| ()).done(move |()| count.set(count.get() + 1));
            }
        })
        .report();
        let clients = (0..300_usize).map(|n| {
            flow(async move {
                let stream = TcpStream::connect(addr).await?;
                match n % 6 {
                    0 => drop(stream.write(vec![1; 300_000])),
                    1 => stream.abort(),
                    2 => {
                        drop(stream.write("unread answer"));
                        after(ms(n as u64 % 3)).await;
                    }
                    3 => {
                        stream.write("ping").await?;
                        let read = stream.read_exact(100);
                        drop(read.timeout(ms(1)).recover(|_| Bytes::new()).await);
                        assert_eq!(stream.read_exact(4).await?, "ping");
                    }
                    4 => {
                        let waiting = stream.read(10);
                        waiting.cancel();
                        drop(waiting);
                        stream.shutdown().await?;
                        assert_eq!(stream.read(10).await?, "");
                    }
                    _ => {
                        stream.write(vec![2; 200_000]).await?;
                        assert!(stream.read_exact(200_000).await?.iter().all(|byte| *byte == 2));
                    }
                }
                Ok(())
            })
        });
        all(clients).await?;
        Ok(())
    })
    .unwrap();
    assert_eq!(ended.get(), 300);
    assert_eq!(thence_core::unhandled(), before);
}

#[test]
fn megabytes_pass_both_ways_at_once() {
    let sent: Bytes = (0..6_000_000_u32).map(|n| (n / 7) as u8).collect();
    let expected = sent.clone();
    let got = run(async move {
        let stream = std::rc::Rc::new(TcpStream::connect(serve_echo()?).await?);
        let writer = stream.clone();
        let write = flow(async move {
            writer.write(sent).await?;
            writer.shutdown().await
        });
        let mut got = BytesMut::new();
        loop {
            let bytes = stream.read(usize::MAX).await?;
            if bytes.is_empty() {
                break;
            }
            got.extend_from_slice(&bytes);
        }
        write.await?;
        Ok(got)
    });
    assert!(got.unwrap() == expected);
}

#[test]
fn a_timeout_on_a_read_keeps_what_comes_late() {
    run(async {
        let stream = TcpStream::connect(serve_echo()?).await?;
        let silent = stream.read(10).timeout(ms(2)).await;
        assert!(silent.unwrap_err().is::<Elapsed>());
        stream.write("late").await?;
        assert_eq!(stream.read_exact(4).await?, "late");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_foreign_peer_sees_a_clean_end() {
    let mut reactor = Reactor::builder().build().unwrap();
    let handle = reactor.handle();
    let (tx, rx) = std::sync::mpsc::channel();
    let peer = thread::spawn(move || {
        let mut stream = StdStream::connect(rx.recv().unwrap()).unwrap();
        stream.write_all(b"hello").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        handle.stop().unwrap();
        all
    });
    reactor
        .run(async move {
            tx.send(serve_echo()?)?;
            draining().await;
            Ok(())
        })
        .unwrap();
    assert_eq!(peer.join().unwrap(), b"hello");
}

/// An address that no other test binds to, so that its port stays free once it is closed.
const DOOR: &str = "127.0.0.2:0";

#[test]
fn who_is_at_the_door_when_the_drain_begins_is_served() {
    let mut reactor = Reactor::builder().build().unwrap();
    // Clients that are in the kernel's queue before the loop turns at all.
    let (addr, clients) = reactor
        .run(async move {
            let listener = TcpListener::bind(DOOR)?;
            let addr = listener.local_addr();
            let clients: Vec<StdStream> =
                (0..8).map(|_| StdStream::connect(addr)).collect::<Result<_, _>>()?;
            flow::<()>(async move {
                loop {
                    let (stream, _) = listener.accept().await?;
                    flow(async move { stream.write("served").await }).report();
                }
            })
            .report();
            Ok((addr, clients))
        })
        .unwrap();
    drop(reactor);
    for mut client in clients {
        let mut all = String::new();
        client.read_to_string(&mut all).unwrap();
        assert_eq!(all, "served");
    }
    assert!(StdStream::connect(addr).is_err(), "the door is closed");
}

#[test]
fn its_descriptor_tells_another_loop_when_a_turn_is_due() {
    let mut reactor = Reactor::builder().build().unwrap();
    let mut outer = mio::Poll::new().unwrap();
    let mut events = mio::Events::with_capacity(8);
    let fd = std::os::fd::AsRawFd::as_raw_fd(&reactor.as_fd().unwrap().as_fd());
    outer
        .registry()
        .register(&mut mio::unix::SourceFd(&fd), mio::Token(0), mio::Interest::READABLE)
        .unwrap();
    let handle = reactor.handle();
    let (tx, rx) = std::sync::mpsc::channel();
    let other = thread::spawn(move || handle.call(move || tx.send("called").unwrap()).unwrap());
    let called = loop {
        if let Ok(called) = rx.try_recv() {
            break called;
        }
        outer.poll(&mut events, reactor.next_timeout()).unwrap();
        reactor.turn(Some(ms(0))).unwrap();
    };
    assert_eq!(called, "called");
    other.join().unwrap();
}

#[test]
fn a_real_clock_is_never_early() {
    run(async {
        for n in [0, 1, 3, 7] {
            let begun = std::time::Instant::now();
            after(ms(n)).await;
            assert!(begun.elapsed() >= ms(n));
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_turn_that_has_left_events_behind_says_that_another_is_due() {
    let mut reactor = Reactor::builder().signals(false).build().unwrap();
    let pairs: Vec<_> = (0..600)
        .map(|_| {
            let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
            (UnixStream::from_std(here).unwrap(), there)
        })
        .collect();
    let reads: Vec<_> = pairs.iter().map(|(here, _)| watch(here.read(1))).collect();
    while reactor.next_timeout() == Some(Duration::ZERO) {
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    for (_, there) in &pairs {
        let mut there = there;
        there.write_all(b"x").unwrap();
    }
    // Whoever watches the descriptor by edges is told of all of them once.
    reactor.turn(Some(Duration::ZERO)).unwrap();
    while reactor.next_timeout() == Some(Duration::ZERO) {
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(reads.iter().filter(|read| read.has_ended()).count(), 600);
}
