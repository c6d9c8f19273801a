//! What clients do with their uploads, and handlers with them.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use thence_core::{Deferred, Failure, flow};
use thence_http::{Body, BodyFault, BodyFaultKind, Request, Response, Server, ServerHandle};
use thence_reactor::after;

use crate::common::world::{ANY, ASK, INSTANT, World, secs, whole};

const A_KIB_OF: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1024\r\n\r\n";
const CHUNKS: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A server whose handlers read up to 2 KiB and say what went wrong, in a context of their own.
fn reading(world: &mut World) -> (ServerHandle, Rc<RefCell<Vec<(BodyFaultKind, bool)>>>) {
    let faults = Rc::<RefCell<Vec<_>>>::default();
    let log = faults.clone();
    let server = world.serve(move |request: Request| {
        let log = log.clone();
        flow(async move {
            match request.into_inner().into_body().collect(2048).await {
                Ok(bytes) => Ok(Response::new(Body::from(bytes))),
                Err(failure) => {
                    let fault = failure.downcast_ref::<BodyFault>().unwrap();
                    log.borrow_mut().push((fault.kind(), fault.is_upload()));
                    Err(failure.context("cannot take the order"))
                }
            }
        })
    });
    (server, faults)
}

#[test]
fn a_handler_that_fails_for_an_upload_answers_what_its_client_did_and_reports_nothing() {
    let long = format!("{CHUNKS}900\r\n{}\r\n", "x".repeat(0x900));
    let announced = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2049\r\n\r\n";
    for (upload, status, kind) in [
        (format!("{CHUNKS}5x\r\nhello\r\n"), "400 Bad Request", BodyFaultKind::Malformed),
        (long, "413 Payload Too Large", BodyFaultKind::TooLong),
        (announced.into(), "413 Payload Too Large", BodyFaultKind::TooLong),
    ] {
        let mut world = World::new();
        let (server, faults) = reading(&mut world);
        let peer = world.connect(&server);
        let mut answer = world.tell(&peer, &upload);
        // A small rest is waited for, in vain.
        world.pass(secs(1));
        answer += &world.hear(&peer);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
        assert!(answer.contains("connection: close\r\n") && peer.is_at_end(), "{answer}");
        assert_eq!(*faults.borrow(), [(kind, true)]);
    }
}

#[test]
fn a_client_that_breaks_off_its_upload_is_no_failure_of_ours() {
    for begun in [format!("{A_KIB_OF}hal"), format!("{CHUNKS}3\r\nhal\r\n"), CHUNKS.into()] {
        for is_reset in [false, true] {
            let mut world = World::new();
            let (server, faults) = reading(&mut world);
            let peer = world.connect(&server);
            assert_eq!(world.tell(&peer, &begun), "");
            if is_reset {
                peer.reset()
            } else {
                peer.finish()
            }
            world.settle();
            assert_eq!(*faults.borrow(), [(BodyFaultKind::BrokenOff, true)]);
            world.pass_slowly(secs(2));
            assert_eq!(server.connections(), 0);
        }
    }
}

#[test]
fn any_other_failure_stays_a_500_and_is_reported() {
    let mut world = World::new();
    // Of the same kind, but not of the client's body.
    let server = world.serve(|_: Request| Body::from("too long").collect(1).map(|_| whole()));
    let peer = world.connect(&server);
    assert!(world.tell(&peer, ASK).starts_with("HTTP/1.1 500 "));
    assert_eq!(world.reports(), ["the body is longer than 1 bytes"]);
}

#[test]
fn an_upload_that_stands_still_for_thirty_seconds_is_answered_with_408() {
    let mut world = World::new();
    let (server, faults) = reading(&mut world);
    let peer = world.connect(&server);
    assert_eq!(world.tell(&peer, &format!("{A_KIB_OF}x")), "");
    // It is how long it stands still that counts, not how long it takes.
    for _ in 0..10 {
        world.pass(secs(30) - INSTANT);
        assert_eq!(world.tell(&peer, "x"), "");
    }
    world.pass(secs(30) - INSTANT);
    assert_eq!((world.hear(&peer).as_str(), peer.is_at_end()), ("", false));
    world.pass(INSTANT);
    let answer = world.hear(&peer);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("connection: close\r\n") && peer.is_at_end(), "{answer}");
    assert_eq!(*faults.borrow(), [(BodyFaultKind::TimedOut, true)]);
}

#[test]
fn how_long_an_upload_may_stand_still_can_be_said() {
    for (limit, is_cut) in [(secs(5), true), (Duration::MAX, false)] {
        let mut world = World::new();
        let server = Server::bind(ANY).unwrap().body_timeout(limit).serve(|request: Request| {
            let body = request.into_inner().into_body().collect(2048);
            body.map(|bytes| Response::new(Body::from(bytes)))
        });
        let peer = world.connect(&server);
        assert_eq!(world.tell(&peer, A_KIB_OF), "");
        world.pass_slowly(secs(90));
        assert_eq!(world.hear(&peer).starts_with("HTTP/1.1 408 "), is_cut, "{limit:?}");
    }
}

#[test]
fn a_client_whose_upload_nobody_reads_has_all_the_time() {
    let mut world = World::new();
    let server = world.serve(|mut request: Request| {
        flow(async move {
            let first = request.body_mut().chunk().await?;
            for _ in 0..3 {
                // Asks for the next, finds nothing, and does something else.
                poll_fn(|cx| {
                    assert!(pin!(request.body_mut().chunk()).poll(cx).is_pending());
                    Poll::Ready(())
                })
                .await;
                after(secs(100)).await;
            }
            Ok(Response::new(Body::from(first.unwrap_or_default())))
        })
    });
    let peer = world.connect(&server);
    assert_eq!(world.tell(&peer, &format!("{A_KIB_OF}x")), "");
    for _ in 0..302 {
        world.pass(secs(1));
    }
    let answer = world.hear(&peer);
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with('x'), "{answer}");
}

/// Answers without a look at the upload.
fn hasty(world: &mut World) -> ServerHandle {
    world.serve(|_: Request| Deferred::ok(whole()))
}

#[test]
fn a_small_upload_that_its_handler_leaves_costs_no_connection() {
    let mut world = World::new();
    let server = hasty(&mut world);
    let peer = world.connect(&server);
    for _ in 0..3 {
        // All at once, and in pieces that come before its time is up.
        assert!(world.tell(&peer, &format!("{A_KIB_OF}{}", "x".repeat(1024))).ends_with("whole"));
        assert_eq!(world.tell(&peer, &format!("{A_KIB_OF}{}", "x".repeat(500))), "");
        world.pass(Duration::from_millis(900));
        let answer = world.tell(&peer, &"x".repeat(524));
        assert!(answer.ends_with("whole") && !answer.contains("connection: close"), "{answer}");
    }
    let chunks = format!("{CHUNKS}5\r\nhello\r\n0\r\n\r\n");
    assert!(world.tell(&peer, &chunks).ends_with("whole"));
    assert!(world.tell(&peer, ASK).ends_with("whole"));
}

#[test]
fn who_reads_all_but_the_end_of_the_chunks_has_read_the_upload() {
    for end in ["0\r\n\r\n", "0\r\nA: b\r\n\r\n"] {
        let mut world = World::new();
        let server = world.serve(|mut request: Request| {
            flow(async move {
                let first = request.body_mut().chunk().await?;
                Ok(Response::new(Body::from(first.unwrap_or_default())))
            })
        });
        let peer = world.connect(&server);
        for _ in 0..3 {
            let answer = world.tell(&peer, &format!("{CHUNKS}5\r\nhello\r\n{end}"));
            assert!(answer.ends_with("hello") && !answer.contains("close"), "{answer}");
        }
    }
}

#[test]
fn an_answer_before_the_end_of_an_upload_says_that_it_is_the_last() {
    let large = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n";
    let expects = A_KIB_OF.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
    for (upload, wait) in [
        (format!("{large}{}", "x".repeat(10_000)), secs(0)),
        (format!("{CHUNKS}5\r\nhello\r\n"), Duration::from_millis(100)),
        // Nobody has told it to send.
        (expects, secs(0)),
        (format!("{A_KIB_OF}x"), secs(1)),
    ] {
        let mut world = World::new();
        let server = hasty(&mut world);
        let peer = world.connect(&server);
        let mut answer = world.tell(&peer, &upload);
        world.pass(wait);
        answer += &world.hear(&peer);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{upload:.99}: {answer}");
        assert!(answer.contains("connection: close\r\n"), "{upload:.99}: {answer}");
        assert!(answer.ends_with("whole") && peer.is_at_end(), "{upload:.99}: {answer}");
        assert!(!peer.is_reset());
        // What it still sends is read, so that it can read the answer.
        for _ in 0..20 {
            peer.send("x".repeat(10_000));
            world.pass(Duration::from_millis(500));
            assert!(!peer.is_reset());
        }
        world.pass(secs(1));
        assert_eq!(server.connections(), 0, "{upload:.99}");
    }
}

#[test]
fn an_answer_while_its_handler_still_reads_says_so_too() {
    let mut world = World::new();
    let server = world
        .serve(|request: Request| Deferred::ok(Response::new(request.into_inner().into_body())));
    let peer = world.connect(&server);
    let answer = world.tell(&peer, &format!("{A_KIB_OF}hello"));
    assert!(answer.contains("connection: close\r\n") && answer.ends_with("hello"), "{answer}");
    assert_eq!(world.tell(&peer, &"x".repeat(1019)).len(), 1019);
    assert!(peer.is_at_end());
}

#[test]
fn a_failure_of_a_relay_for_the_upload_is_its_clients_too() {
    let mut world = World::new();
    let upstream = world.manual.listen(ANY).unwrap();
    let to = format!("http://{}/", upstream.local_addr());
    let client = thence_http::Client::default();
    let server = world.serve(move |request: Request| {
        let (head, body) = request.into_inner().into_parts();
        let request = http::Request::builder().method(head.method).uri(&to).body(body);
        match request {
            Ok(request) => client.request(request),
            Err(error) => Deferred::err(Failure::from(error)),
        }
    });
    let peer = world.connect(&server);
    assert_eq!(world.tell(&peer, &format!("{CHUNKS}5\r\nhello\r\n")), "");
    let far = upstream.accept().unwrap();
    assert!(far.received().ends_with(b"5\r\nhello\r\n"));
    let answer = world.tell(&peer, "5x\r\nhello\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    world.settle();
    assert!(far.is_at_end() || far.is_reset());
}
