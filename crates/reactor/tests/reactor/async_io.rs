//! Streams under the traits of other libraries.

use std::{future::poll_fn, io, pin::Pin, rc::Rc, task::Poll};

use futures_util::io::AsyncWriteExt as _;
use thence_core::flow;
use thence_reactor::net::{AsyncIo, TcpListener, TcpStream, Transport, UnixStream};
use tokio::io::AsyncWriteExt as _;

use crate::common::{ANY, World, watch};

fn is_futures_io<T: futures_io::AsyncRead + futures_io::AsyncWrite + Unpin>(_: &T) {}
fn is_tokio_io<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(_: &T) {}

#[test]
fn whatever_carries_it_is_wrapped() {
    thence_reactor::test(async {
        let (one, two) = UnixStream::pair()?;
        is_futures_io(&AsyncIo::new(&one));
        is_tokio_io(&AsyncIo::new(Transport::from(one)));
        is_tokio_io(&AsyncIo::new(two));
        Ok(())
    });
}

/// 300 KB through an echo; more than a socket holds, so that both sides have to wait.
#[test]
fn both_libraries_copy_over_it() {
    thence_reactor::test(async {
        let listener = TcpListener::bind(ANY)?;
        let addr = listener.local_addr();
        let echo = flow(async move {
            // futures-io first, then tokio.
            let (stream, _) = listener.accept().await?;
            let stream = Transport::from(stream);
            let (from, mut to) = (AsyncIo::new(stream.clone()), AsyncIo::new(stream));
            let first = futures_util::io::copy(from, &mut to).await?;
            to.close().await?;
            let (stream, _) = listener.accept().await?;
            let mut stream = AsyncIo::new(stream);
            let (mut from, mut to) = tokio::io::split(&mut stream);
            let second = tokio::io::copy(&mut from, &mut to).await?;
            to.shutdown().await?;
            Ok((first, second))
        });
        let sent: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
        for _ in 0..2 {
            let client = Rc::new(TcpStream::connect(addr).await?);
            let writing = flow({
                let (client, sent) = (client.clone(), sent.clone());
                async move {
                    client.write(sent).await?;
                    client.shutdown().await
                }
            });
            assert_eq!(client.read_exact(sent.len()).await?, sent);
            assert_eq!(client.read(1).await?, "");
            writing.await?;
        }
        assert_eq!(echo.await?, (300_000, 300_000));
        Ok(())
    });
}

#[test]
fn a_read_takes_what_fits_and_leaves_the_rest() {
    let mut world = World::new();
    let (stream, peer) = world.connection();
    let stream = Transport::from(stream);
    let reading = AsyncIo::new(stream.clone());
    let read = watch(flow(async move {
        let (mut two, mut none) = ([0; 2], [0; 0]);
        let mut reading = reading;
        let n = futures_util::io::AsyncReadExt::read(&mut reading, &mut two).await?;
        let zero = futures_util::io::AsyncReadExt::read(&mut reading, &mut none).await?;
        let mut buf = Vec::with_capacity(2);
        let more = tokio::io::AsyncReadExt::read_buf(&mut reading, &mut buf).await?;
        Ok((n, two, zero, more, buf))
    }));
    peer.send("abcdef");
    world.settle();
    let (n, two, zero, more, buf) = read.ok();
    assert_eq!((n, &two, zero), (2, b"ab", 0));
    assert_eq!((more, &buf[..2]), (2, &b"cd"[..]));
    let rest = watch(stream.read(100));
    world.settle();
    assert_eq!(rest.ok(), &b"abcdef"[2 + more..]);
}

#[test]
fn a_read_that_a_library_drops_loses_nothing() {
    let mut world = World::new();
    let (stream, peer) = world.connection();
    let mut reading = AsyncIo::new(stream);
    let polled = watch(flow(async move {
        let mut buf = [0; 4];
        // Polled once, and dropped while it waits.
        let pending = poll_fn(|cx| {
            Poll::Ready(futures_io::AsyncRead::poll_read(Pin::new(&mut reading), cx, &mut buf))
        });
        assert!(pending.await.is_pending());
        Ok(reading.into_inner())
    }));
    world.settle();
    let stream = polled.ok();
    peer.send("late");
    world.settle();
    let read = watch(stream.read(100));
    world.settle();
    assert_eq!(read.ok(), "late");
}

#[test]
fn the_end_and_a_reset_are_what_they_are_elsewhere() {
    let mut world = World::new();
    for reset in [false, true] {
        let (stream, peer) = world.connection();
        let read = watch(flow(async move {
            let mut stream = AsyncIo::new(stream);
            let mut all = Vec::new();
            let read = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut all).await;
            Ok((read.map_err(|error| error.kind()), all))
        }));
        peer.send("bye");
        world.settle();
        if reset {
            peer.reset()
        } else {
            peer.finish()
        }
        world.settle();
        let expected = if reset { Err(io::ErrorKind::ConnectionReset) } else { Ok(3) };
        assert_eq!(read.ok(), (expected, b"bye".to_vec()));
    }
}

#[test]
fn a_write_waits_when_too_much_waits_to_be_sent() {
    let mut world = World::new();
    world.manual.set_capacity(4);
    let (stream, peer) = world.connection();
    let writing = watch(flow(async move {
        let mut stream = AsyncIo::new(stream);
        tokio::io::AsyncWriteExt::write_all(&mut stream, &[b'x'; 100_000]).await?;
        tokio::io::AsyncWriteExt::shutdown(&mut stream).await?;
        Ok(())
    }));
    world.settle();
    // It has ended when the operating system has all of it, which is four bytes before the peer.
    let mut arrived = 0;
    while !peer.is_at_end() {
        assert!(arrived + 4 >= 100_000 || !writing.has_ended());
        arrived += peer.received().len();
        world.settle();
    }
    assert_eq!(arrived, 100_000);
    writing.ok();
}
