//! The handshakes of TLS: how they fail, and how they are left.

use std::{io, rc::Rc};

use thence_core::{Deferred, flow};
use thence_reactor::{
    DeferredExt, Elapsed, Reactor,
    driver::manual::{Manual, Peer},
    net::{
        TcpListener, TcpStream, UnixStream,
        tls::{Certificates, Roots, TlsClient, TlsServer, TlsStream},
    },
};

use crate::common::{
    ANY, World,
    ca::Ca,
    ms,
    tls::{NAME, ends, ends_of, kind, on_each_driver, pair},
    watch,
};

/// A server's handshake with somebody who is no client of TLS yet.
fn at_the_door(world: &mut World, server: &TlsServer) -> (Deferred<TlsStream>, Peer) {
    let (stream, peer) = world.connection();
    (server.accept(stream), peer)
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
fn a_handshake_that_nobody_waits_for_closes_at_once() {
    let quit: [fn(Deferred<TlsStream>); 2] = [
        |accepting| drop(accepting),
        |accepting| {
            accepting.cancel();
            drop(accepting);
        },
    ];
    for how in quit {
        let mut world = World::new();
        let (server, _) = ends();
        let (accepting, peer) = at_the_door(&mut world, &server);
        world.settle();
        assert!(!peer.is_at_end());
        how(accepting);
        world.settle();
        assert!(peer.is_at_end());
    }
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
            let mut turn = pairs.iter().cycle();
            loop {
                let (stream, _) = listener.accept().await?;
                // While the handshakes of others go on.
                let pair = turn.next().expect("it goes round");
                certificates.replace(&pair.chain, &pair.key)?;
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
        let mut shown = Vec::new();
        for client in clients {
            shown.extend(client.await?);
        }
        serving.cancel();
        assert_eq!(shown.len(), CLIENTS * HANDSHAKES);
        shown.sort();
        shown.dedup();
        assert_eq!(shown.len(), 2, "each is shown");
        Ok(())
    });
}
