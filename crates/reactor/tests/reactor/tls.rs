//! TLS streams: the rules of a transport hold for them, and what is TLS's own.

use std::{io, rc::Rc, task::Poll};

use bytes::Bytes;
use thence_core::{Deferred, Failure, flow};
use thence_reactor::{
    DeferredExt, Reactor,
    driver::manual::Manual,
    net::{UnixStream, tls::TlsVersion},
};

use crate::common::{
    Watched, World, ms,
    tls::{Driver, NAME, connected, ends, kind, numbers, on_each_driver, pair},
    watch,
};

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
fn an_answer_arrives_whole_though_the_end_of_the_request_was_not_read() {
    let ends = Rc::new(ends());
    on_each_driver(|_| {
        let ends = ends.clone();
        async move {
            let (near, far) = connected(&ends.0, &ends.1).await?;
            near.write("request").await?;
            assert_eq!(far.read(7).await?, "request");
            near.shutdown().await?;
            let all = numbers(8 << 20);
            far.write(all.clone()).report();
            far.shutdown().report();
            drop(far);
            assert!(near.read_exact(all.len()).await? == all);
            assert_eq!(near.read(1).await?, "");
            Ok(())
        }
    });
}

#[test]
fn a_stream_that_is_dropped_waits_for_the_other_end_but_not_for_ever() {
    let mut world = World::new();
    let (near, far) = pair(&mut world);
    drop(near);
    world.settle();
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
    world.settle();
    world.pass(ms(1000));
    let write = watch(far.write("anybody?"));
    world.settle();
    write.err();
}

#[test]
fn a_run_waits_for_a_stream_that_waits_for_the_other_end() {
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

fn watch_to_the_end<T: 'static>(world: &mut World, d: Deferred<T>) -> Watched<T, Failure> {
    let watched = watch(d);
    world.settle();
    watched
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
