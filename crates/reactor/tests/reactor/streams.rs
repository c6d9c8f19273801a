//! Sockets as `Stream`s.

use std::{future::poll_fn, io, pin::Pin, rc::Rc, task::Poll};

use futures_core::Stream;
use thence_core::flow;
use thence_reactor::net::{Chunks, TcpListener, UnixAddr, UnixListener};

use crate::common::{ANY, World, ms, watch};

async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    poll_fn(|task| Pin::new(&mut *stream).poll_next(task)).await
}

#[test]
fn chunks_end_with_the_stream() {
    let mut world = World::new();
    let (stream, peer) = world.connection();
    let all = watch(flow(async move {
        let mut chunks = Chunks::new(&stream);
        let mut all = Vec::new();
        while let Some(bytes) = next(&mut chunks).await {
            all.push(bytes?);
        }
        assert!(next(&mut chunks).await.is_none());
        Ok(all)
    }));
    for text in ["ab", "c"] {
        peer.send(text);
        world.settle();
    }
    peer.finish();
    world.settle();
    assert_eq!(all.ok(), ["ab", "c"]);
}

#[test]
fn an_error_is_the_last_of_the_chunks() {
    let mut world = World::new();
    let (stream, peer) = world.connection();
    let seen = watch(flow(async move {
        let mut chunks = Chunks::new(stream);
        let failure = next(&mut chunks).await.unwrap().unwrap_err();
        assert!(next(&mut chunks).await.is_none());
        Ok(failure)
    }));
    world.settle();
    peer.reset();
    world.settle();
    let failure = seen.ok();
    let error = failure.downcast_ref::<io::Error>().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn chunks_that_are_dropped_lose_nothing() {
    for turns in 0..4 {
        let mut world = World::new();
        let (stream, peer) = world.connection();
        let waiting = flow(async move {
            let mut chunks = Chunks::new(stream);
            // Polled once.
            let first = poll_fn(|task| {
                let polled = Pin::new(&mut chunks).poll_next(task);
                Poll::Ready(polled.is_ready())
            });
            assert!(!first.await);
            thence_reactor::after(ms(1)).await;
            Ok(chunks.into_inner())
        });
        let waiting = watch(waiting);
        for _ in 0..turns {
            world.reactor.turn(Some(ms(0))).unwrap();
        }
        peer.send("abc");
        world.settle();
        world.pass(ms(1));
        let stream = waiting.ok();
        let read = watch(stream.read(100));
        world.settle();
        assert_eq!(read.ok(), "abc", "after {turns} turns");
    }
}

#[test]
fn connections_come_in_order_and_one_that_was_left_goes_to_the_next_accept() {
    let mut world = World::new();
    let listener = TcpListener::bind(ANY).unwrap();
    let addr = listener.local_addr();
    let peers = [(); 3].map(|()| world.manual.connect(addr).unwrap());
    let accepted = watch(flow(async move {
        let mut incoming = listener.incoming();
        let first = next(&mut incoming).await.unwrap()?.1;
        // Asked for and not waited for.
        let asked = poll_fn(|task| Poll::Ready(Pin::new(&mut incoming).poll_next(task).is_ready()));
        assert!(!asked.await);
        thence_reactor::after(ms(1)).await;
        drop(incoming);
        Ok([first, listener.accept().await?.1, listener.accept().await?.1])
    }));
    world.settle();
    world.pass(ms(1));
    assert_eq!(accepted.ok(), peers.map(|peer| peer.local_addr()));
}

#[test]
fn a_listener_that_closes_ends_whoever_waits() {
    let mut world = World::new();
    let listener = Rc::new(UnixListener::bind(UnixAddr::Path("listener".into())).unwrap());
    let accepting = watch(flow({
        let listener = listener.clone();
        async move {
            let accepted = next(&mut listener.incoming()).await;
            Ok(accepted.is_some())
        }
    }));
    world.settle();
    listener.close();
    world.settle();
    assert!(accepting.is_cancelled());
}
