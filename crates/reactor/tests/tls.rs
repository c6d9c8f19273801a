//! TLS streams: the rules of a transport hold for them, and what is TLS's own.

#[path = "common/ca.rs"]
mod ca;
mod common;

use std::{io, rc::Rc, task::Poll};

use bytes::Bytes;
use ca::Ca;
use common::{ANY, Watched, World, ms, watch};
use thence_core::{Deferred, Failure, flow, testing};
use thence_reactor::{
    DeferredExt, Elapsed, Reactor,
    driver::manual::{Manual, Peer},
    net::{
        TcpListener, TcpStream, UnixStream,
        tls::{Certificates, Roots, TlsClient, TlsServer, TlsStream, TlsVersion},
    },
};

const NAME: &str = "app.example";

/// A server, and a client that trusts it.
fn ends() -> (TlsServer, TlsClient) {
    ends_of("test")
}

fn ends_of(ca: &str) -> (TlsServer, TlsClient) {
    let ca = Ca::new(ca);
    let pair = ca.issue(NAME);
    let certificates = Certificates::from_pem(&pair.chain, &pair.key).unwrap();
    (TlsServer::new(&certificates), TlsClient::new(&Roots::from_pem(&ca.pem).unwrap()))
}

/// Runs `body` on each driver.
fn on_each_driver<F>(body: impl Fn(Driver) -> F)
where
    F: Future<Output = Result<(), Failure>> + 'static,
{
    thence_reactor::test(body(Driver::Ready));
    let manual = Manual::new();
    testing::check(|| {
        let builder = Reactor::builder().signals(false).driver(manual.clone());
        let mut reactor = builder.build().unwrap();
        reactor.run(body(Driver::Manual(manual.clone()))).unwrap();
    });
}

enum Driver {
    Manual(Manual),
    Ready,
}

/// Both ends of a TLS connection, the client's first.
async fn connected(
    server: &TlsServer,
    client: &TlsClient,
) -> Result<(TlsStream, TlsStream), Failure> {
    let listener = TcpListener::bind(ANY)?;
    let connecting = TcpStream::connect(listener.local_addr());
    let (accepted, _) = listener.accept().await?;
    let accepting = server.accept(accepted);
    let connected = client.connect(connecting.await?, NAME).await?;
    Ok((connected, accepting.await?))
}

fn kind(failure: &Failure) -> io::ErrorKind {
    failure.downcast_ref::<io::Error>().map(io::Error::kind).expect("an I/O error")
}

fn numbers(len: usize) -> Bytes {
    (0..len).map(|n| (n % 251) as u8).collect()
}

#[test]
fn both_ends_hear_each_other_and_know_what_they_agreed_on() {
    let (server, client) = ends();
    let (server, client) = (server.alpn(["h2", "http/1.1"]), client.alpn(["http/1.1"]));
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        on_each_driver(|_| {
            let (server, client) = (server.clone(), client.clone().only(version));
            async move {
                let (near, far) = connected(&server, &client).await?;
                near.write("ping").await?;
                assert_eq!(far.read_exact(4).await?, "ping");
                far.write("pong").await?;
                assert_eq!(near.read(100).await?, "pong");
                for end in [&near, &far] {
                    assert_eq!(end.alpn().unwrap(), "http/1.1");
                    assert_eq!(end.server_name().as_deref(), Some(NAME));
                    assert_eq!(end.version(), version);
                }
                assert_eq!(near.peer_certificates().len(), 1);
                assert!(far.peer_certificates().is_empty());
                Ok(())
            }
        });
    }
}

#[test]
fn a_megabyte_goes_both_ways_at_once_through_a_narrow_pipe() {
    let ends = Rc::new(ends());
    on_each_driver(|driver| {
        let ends = ends.clone();
        if let Driver::Manual(manual) = driver {
            manual.set_capacity(3000);
            manual.set_recv_max(1111);
        }
        async move {
            let (near, far) = connected(&ends.0, &ends.1).await?;
            let all = numbers(1 << 20);
            let writes = [near.write(all.clone()), far.write(all.clone())];
            let reads = [near.read_exact(all.len()), far.read_exact(all.len())];
            for read in reads {
                assert!(read.await? == all);
            }
            for write in writes {
                write.await?;
            }
            Ok(())
        }
    });
}

#[test]
fn shutdown_ends_one_direction_and_the_other_goes_on() {
    let ends = Rc::new(ends());
    on_each_driver(|_| {
        let ends = ends.clone();
        async move {
            let (near, far) = connected(&ends.0, &ends.1).await?;
            let write = near.write("bye");
            near.shutdown().await?;
            write.await?;
            assert_eq!(far.read_exact(3).await?, "bye");
            assert_eq!(far.read(100).await?, "");
            far.write("still here").await?;
            assert_eq!(near.read(100).await?, "still here");
            far.shutdown().await?;
            assert_eq!(near.read(100).await?, "");
            assert_eq!(kind(&near.write("more").await.unwrap_err()), io::ErrorKind::BrokenPipe);
            Ok(())
        }
    });
}

#[test]
fn an_end_that_nobody_said_is_told_apart() {
    let ends = Rc::new(ends());
    on_each_driver(|_| {
        let ends = ends.clone();
        async move {
            let (near, far) = connected(&ends.0, &ends.1).await?;
            near.write("all of it?").await?;
            drop(near);
            assert_eq!(far.read(100).await?, "all of it?");
            for failure in [far.read(100).await.unwrap_err(), far.read_exact(1).await.unwrap_err()]
            {
                assert_eq!(kind(&failure), io::ErrorKind::UnexpectedEof);
                assert!(failure.to_string().starts_with("the stream was cut off"), "{failure}");
            }
            Ok(())
        }
    });
}

#[test]
fn what_is_written_before_a_stream_is_dropped_goes_out() {
    let ends = Rc::new(ends());
    on_each_driver(|_| {
        let ends = ends.clone();
        async move {
            let (near, far) = connected(&ends.0, &ends.1).await?;
            let all = numbers(300_000);
            near.write(all.clone()).report();
            near.shutdown().report();
            drop(near);
            assert!(far.read_exact(all.len()).await? == all);
            assert_eq!(far.read(1).await?, "");
            Ok(())
        }
    });
}

#[test]
fn a_client_that_is_dropped_waits_for_the_other_end_but_not_for_ever() {
    let mut world = World::new();
    let (near, far) = pair(&mut world);
    drop(near);
    world.pass(ms(999));
    assert_eq!(
        kind(&watch_to_the_end(&mut world, far.read(1)).err()),
        io::ErrorKind::UnexpectedEof
    );
    // An end that nobody has is no longer there after a second.
    let write = watch(far.write("anybody?"));
    world.settle();
    write.ok();
    let write = watch(far.write("anybody?"));
    world.settle();
    write.err();

    let (near, far) = pair(&mut world);
    drop(near);
    world.pass(ms(1000));
    let write = watch(far.write("anybody?"));
    world.settle();
    write.err();
}

#[test]
fn a_run_waits_for_a_client_that_waits_for_the_other_end() {
    let (server, client) = ends();
    let manual = Manual::new();
    let builder = Reactor::builder().signals(false).driver(manual.clone());
    let mut reactor = builder.build().unwrap();
    let kept = Rc::new(std::cell::RefCell::new(None));
    let (slot, began) = (kept.clone(), manual.now());
    let body = async move {
        let (near, far) = connected(&server, &client).await?;
        near.write("hello").await?;
        slot.replace(Some(far));
        Ok(())
    };
    reactor.run(body).unwrap();
    assert_eq!(manual.now() - began, ms(1000));
}

#[test]
fn an_untrusted_server_fails_both_ends_with_the_reason() {
    let (server, _) = ends();
    let (_, client) = ends_of("stranger");
    let ends = Rc::new((server, client));
    on_each_driver(|_| {
        let ends = ends.clone();
        async move {
            let listener = TcpListener::bind(ANY)?;
            let connecting = TcpStream::connect(listener.local_addr());
            let (accepted, _) = listener.accept().await?;
            let accepting = ends.0.accept(accepted);
            let refused = ends.1.connect(connecting.await?, NAME).await.unwrap_err();
            let text = format!("{refused:#}");
            assert!(
                text.starts_with("TLS handshake with `app.example`: the certificate"),
                "{text}"
            );
            assert!(text.contains("is signed by nobody that is trusted here"), "{text}");
            assert_eq!(
                format!("{:#}", accepting.await.unwrap_err()),
                "TLS handshake with a client: the other end refused this one's certificate: it \
                 does not know who signed it"
            );
            Ok(())
        }
    });
}

#[test]
fn a_name_that_is_none_fails_at_once() {
    let (_, client) = ends();
    thence_reactor::test(async move {
        let (near, _far) = UnixStream::pair()?;
        let failure = client.connect(near, "not a name").await.unwrap_err();
        assert_eq!(kind(&failure), io::ErrorKind::InvalidInput);
        Ok(())
    });
}

#[test]
fn it_goes_over_unix_sockets_too() {
    let (server, client) = ends();
    thence_reactor::test(async move {
        let (near, far) = UnixStream::pair()?;
        let accepting = server.accept(far);
        let near = client.connect(near, NAME).await?;
        let far = accepting.await?;
        near.write("hello").await?;
        assert_eq!(far.read_exact(5).await?, "hello");
        Ok(())
    });
}

/// A server's handshake with somebody who is no client of TLS yet.
fn at_the_door(world: &mut World, server: &TlsServer) -> (Deferred<TlsStream>, Peer) {
    let (stream, peer) = world.connection();
    (server.accept(stream), peer)
}

#[test]
fn a_client_that_speaks_plain_http_is_named_and_hears_an_alert() {
    let mut world = World::new();
    let (server, _) = ends();
    let (accepting, peer) = at_the_door(&mut world, &server);
    let accepting = watch(accepting);
    peer.send("GET / HTTP/1.1\r\nHost: app.example\r\n\r\n");
    world.settle();
    let text = format!("{:#}", accepting.err());
    assert!(text.contains("the client speaks plain HTTP where TLS was expected"), "{text}");
    // An alert is a record of type 21.
    assert_eq!(peer.received().first(), Some(&21));
    assert!(peer.is_at_end());
}

#[test]
fn a_peer_that_hangs_up_or_resets_amid_the_handshake_fails_it() {
    let (server, _) = ends();
    let hello = [22, 3, 1, 2, 0, 1, 0];
    let ends: [(fn(&Peer), io::ErrorKind); 2] = [
        (Peer::finish, io::ErrorKind::UnexpectedEof),
        (Peer::reset, io::ErrorKind::ConnectionReset),
    ];
    for (end, expected) in ends {
        for begun in [false, true] {
            let mut world = World::new();
            let (accepting, peer) = at_the_door(&mut world, &server);
            let accepting = watch(accepting);
            if begun {
                peer.send(hello);
                world.settle();
            }
            end(&peer);
            world.settle();
            let failure = accepting.err();
            assert_eq!(kind(&failure), expected);
            assert_eq!(failure.to_string(), "TLS handshake with a client");
        }
    }
}

#[test]
fn a_handshake_that_hangs_times_out_and_closes() {
    let mut world = World::new();
    let (server, _) = ends();
    let (accepting, peer) = at_the_door(&mut world, &server);
    let accepting = watch(accepting.timeout(ms(5)));
    world.pass(ms(4));
    assert!(!accepting.has_ended() && !peer.is_at_end());
    world.pass(ms(1));
    assert!(accepting.err().is::<Elapsed>());
    assert!(peer.is_at_end());
}

#[test]
fn a_handshake_that_is_cancelled_or_left_at_any_point_closes() {
    let (server, client) = ends();
    for is_client in [false, true] {
        for left in [false, true] {
            for turns in 0..8 {
                let mut world = World::new();
                let listener = TcpListener::bind(ANY).unwrap();
                let near = watch(TcpStream::connect(listener.local_addr()));
                let far = watch(listener.accept());
                world.settle();
                let accepting = server.accept(far.ok().0);
                let connecting = client.connect(near.ok(), NAME);
                let (quits, stays) = match is_client {
                    true => (connecting, accepting),
                    false => (accepting, connecting),
                };
                for _ in 0..turns {
                    world.reactor.turn(Some(ms(0))).unwrap();
                }
                if !left {
                    quits.cancel();
                }
                drop(quits);
                let stays = watch(stays);
                world.settle();
                // Either it fails, or it was done already and the stream is at its end.
                match stays.take().expect("it has ended").into_result() {
                    Err(_) => {}
                    Ok(stream) => {
                        let read = watch(stream.read(1));
                        world.settle();
                        read.err();
                    }
                }
            }
        }
    }
}

fn watch_to_the_end<T: 'static>(world: &mut World, d: Deferred<T>) -> Watched<T, Failure> {
    let watched = watch(d);
    world.settle();
    watched
}

/// Both ends in a world of manual time.
fn pair(world: &mut World) -> (TlsStream, TlsStream) {
    let (server, client) = ends();
    let both = watch(flow(async move { connected(&server, &client).await }));
    world.settle();
    both.ok()
}

#[test]
fn a_read_that_quits_at_any_point_loses_nothing() {
    let quit: [fn(Deferred<Bytes>); 2] = [
        |read| drop(read),
        |read| {
            read.cancel();
            drop(read);
        },
    ];
    for how in quit {
        for turns in 0..5 {
            let mut world = World::new();
            let (near, far) = pair(&mut world);
            let first = near.read(100);
            let mut writes = vec![watch(far.write("one "))];
            for _ in 0..turns {
                world.reactor.turn(Some(ms(0))).unwrap();
            }
            how(first);
            writes.push(watch(far.write("two")));
            world.settle();
            let all = watch(near.read_exact(7));
            world.settle();
            assert_eq!(all.ok(), "one two", "{turns} turns");
        }
    }
}

#[test]
fn what_was_read_in_part_is_in_the_buffer_for_the_next() {
    let mut world = World::new();
    let (near, far) = pair(&mut world);
    let write = watch(far.write("abcdef"));
    let first = watch(near.read(2));
    world.settle();
    write.ok();
    assert_eq!(first.ok(), "ab");
    let limited = near.read(2).timeout(ms(5));
    world.settle();
    drop(limited);
    let rest = watch(near.read_exact(4));
    world.settle();
    assert_eq!(rest.ok(), "cdef");
}

#[test]
fn a_write_that_is_cancelled_before_it_goes_out_is_not_sent() {
    let mut world = World::new();
    let (near, far) = pair(&mut world);
    let writes = [near.write("one "), near.write("never "), near.write("two")];
    writes[1].cancel();
    let writes = writes.map(watch);
    world.settle();
    assert!(writes[1].is_cancelled());
    let read = watch(far.read_exact(7));
    world.settle();
    assert_eq!(read.ok(), "one two");
}

#[test]
fn abort_breaks_both_ends() {
    let mut world = World::new();
    let (near, far) = pair(&mut world);
    let reads = [watch(near.read(1)), watch(far.read(1))];
    near.abort();
    world.settle();
    assert_eq!(kind(&reads[0].err()), io::ErrorKind::ConnectionAborted);
    assert_eq!(kind(&reads[1].err()), io::ErrorKind::UnexpectedEof);
}

#[test]
fn the_adapters_to_what_polls_go_through_tls() {
    let (server, client) = ends();
    thence_reactor::test(async move {
        let (near, far) = connected(&server, &client).await?;
        let (all, mut sent) = (numbers(400_000), 0);
        let reading = flow(async move {
            let mut heard = Vec::new();
            loop {
                let len = heard.len();
                std::future::poll_fn(|cx| {
                    far.poll_read(cx, &mut |bytes| {
                        heard.extend_from_slice(bytes);
                        bytes.len()
                    })
                })
                .await?;
                if heard.len() == len {
                    return Ok(heard);
                }
            }
        });
        while sent < all.len() {
            sent += std::future::poll_fn(|cx| near.poll_write(cx, &all[sent..])).await?;
        }
        std::future::poll_fn(|cx| near.poll_flush(cx)).await?;
        std::future::poll_fn(|cx| near.poll_shutdown(cx)).await?;
        assert!(reading.await? == all);
        Ok(())
    });
}

#[test]
fn poll_write_holds_back_what_nobody_reads() {
    let mut world = World::new();
    world.manual.set_capacity(4096);
    let (near, _far) = pair(&mut world);
    let chunk = numbers(10_000);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut taken = 0;
    while let Poll::Ready(n) = near.poll_write(&mut context, &chunk) {
        taken += n.unwrap();
        world.settle();
        assert!(taken < 200_000, "it takes without an end");
    }
    assert!(taken >= 60_000);
}

#[test]
fn what_came_before_the_handshake_is_its_beginning() {
    let (server, client) = ends();
    let mut world = World::new();
    let listener = TcpListener::bind(ANY).unwrap();
    let near = watch(TcpStream::connect(listener.local_addr()));
    let far = watch(listener.accept());
    world.settle();
    let (far, _) = far.ok();
    let connecting = watch(client.connect(near.ok(), NAME));
    // Somebody looks at the first bytes, and gives them back.
    let look = far.read(3);
    world.settle();
    assert!(look.is_ready());
    drop(look);
    let accepting = watch(server.accept(far));
    world.settle();
    connecting.ok();
    accepting.ok();
}

#[test]
fn bytes_from_before_the_handshake_never_turn_up_inside_of_it() {
    let (server, client) = ends();
    let mut world = World::new();
    let listener = TcpListener::bind(ANY).unwrap();
    let near = watch(TcpStream::connect(listener.local_addr()));
    let far = watch(listener.accept());
    world.settle();
    let (near, (far, _)) = (near.ok(), far.ok());
    let write = watch(near.write("STARTTLS"));
    let command = far.read_exact(8);
    world.settle();
    write.ok();
    assert!(command.is_ready());
    let accepting = watch(server.accept(far));
    let connecting = watch(client.connect(near, NAME));
    world.settle();
    let (near, far) = (connecting.ok(), accepting.ok());
    drop(command);
    let write = watch(near.write("inside"));
    let read = watch(far.read(100));
    world.settle();
    write.ok();
    assert_eq!(read.ok(), "inside");
}

#[test]
fn a_handshake_after_a_write_that_has_not_left_is_refused() {
    let (server, _) = ends();
    let mut world = World::new();
    let (stream, peer) = world.connection();
    let write = watch(stream.write("220 go ahead"));
    let accepting = watch(server.accept(stream));
    world.settle();
    let text = accepting.err().to_string();
    assert!(text.ends_with("wait for the write before TLS begins"), "{text}");
    write.ok();
    assert_eq!(peer.received(), b"220 go ahead");
}

#[test]
fn there_is_no_tls_inside_of_tls() {
    let (server, _) = ends();
    let mut world = World::new();
    let (near, _far) = pair(&mut world);
    let again = watch(server.accept(near));
    world.settle();
    let text = again.err().to_string();
    assert_eq!(text, "this connection speaks TLS already, and there is none inside of TLS");
}

#[test]
fn a_reactor_that_ends_cancels_a_handshake() {
    let (server, _) = ends();
    let manual = Manual::new();
    let mut reactor = Reactor::builder().driver(manual.clone()).build().unwrap();
    let listener = TcpListener::bind(ANY).unwrap();
    let peer = manual.connect(listener.local_addr()).unwrap();
    let accepted = watch(listener.accept());
    reactor.turn(Some(ms(0))).unwrap();
    let accepting = watch(server.accept(accepted.ok().0));
    drop(reactor);
    assert!(accepting.is_cancelled());
    drop(peer);
}

#[test]
fn a_certificate_is_replaced_under_load_and_no_handshake_fails() {
    const CLIENTS: usize = 8;
    const HANDSHAKES: usize = 10;
    let ca = Ca::new("test");
    let pairs = [ca.issue(NAME), ca.issue(NAME)];
    let certificates = Certificates::from_pem(&pairs[0].chain, &pairs[0].key).unwrap();
    let server = TlsServer::new(&certificates);
    let roots = Roots::from_pem(&ca.pem).unwrap();
    thence_reactor::test(async move {
        let listener = TcpListener::bind(ANY)?;
        let addr = listener.local_addr();
        let serving = flow::<()>(async move {
            loop {
                let (stream, _) = listener.accept().await?;
                let accepting = server.accept(stream);
                flow(async move {
                    let stream = accepting.await?;
                    stream.write(stream.read_exact(4).await?).await?;
                    stream.shutdown().await
                })
                .report();
            }
        });
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let client = TlsClient::new(&roots);
                flow(async move {
                    let mut shown = Vec::new();
                    for _ in 0..HANDSHAKES {
                        let stream = client.connect(TcpStream::connect(addr).await?, NAME).await?;
                        shown.extend(stream.peer_certificates());
                        stream.write("ping").await?;
                        assert_eq!(stream.read_exact(4).await?, "ping");
                        assert_eq!(stream.read(1).await?, "");
                    }
                    Ok(shown)
                })
            })
            .collect();
        let replacing = flow::<()>(async move {
            for n in 1.. {
                let pair = &pairs[n % 2];
                certificates.replace(&pair.chain, &pair.key)?;
                thence_reactor::after(ms(2)).await;
            }
            Ok(())
        });
        let mut shown = Vec::new();
        for client in clients {
            shown.extend(client.await?);
        }
        replacing.cancel();
        serving.cancel();
        assert_eq!(shown.len(), CLIENTS * HANDSHAKES);
        shown.sort();
        shown.dedup();
        assert_eq!(shown.len(), 2, "both certificates were shown");
        Ok(())
    });
}
