//! Who is waited for while a request goes out and its answer comes in, and for how long.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use thence_core::{Deferred, Failure, Outcome, flow};
use thence_http::{
    Body, BodySender, Client, ClientError, ClientErrorKind, ClientOptions, Response,
};
use thence_reactor::driver::manual::{Peer, PeerListener};

use crate::common::world::{ANY, INSTANT, World, secs};

/// A client, its upstream, and what the request has come to.
struct Exchange {
    world: World,
    upstream: PeerListener,
    ended: Rc<Cell<Option<Result<u16, ClientErrorKind>>>>,
}

impl Exchange {
    fn begin(options: ClientOptions, capacity: Option<usize>, body: Body) -> (Self, Peer) {
        let mut world = World::new();
        capacity.into_iter().for_each(|bytes| world.manual.set_capacity(bytes));
        let upstream = world.manual.listen(ANY).unwrap();
        let uri = format!("http://{}/", upstream.local_addr());
        let request = http::Request::post(uri).body(body).unwrap();
        let ended = Rc::new(Cell::new(None));
        let told = ended.clone();
        Client::new(options).request(request).settled().done(
            move |outcome: Outcome<Response, Failure>| {
                told.set(Some(match outcome {
                    Outcome::Ok(answer) => Ok(answer.status().as_u16()),
                    other => Err(kind(&other.err().expect("no stop"))),
                }));
            },
        );
        world.settle();
        let peer = upstream.accept().unwrap();
        (Self { world, upstream, ended }, peer)
    }

    /// Time passes as it does, a second after the other.
    fn wait(&mut self, time: Duration) {
        (0..time.as_secs()).for_each(|_| self.world.pass(secs(1)));
    }

    /// Nothing more happens: it ends so after that time, and no sooner.
    fn ends_after(&mut self, limit: Duration, kind: ClientErrorKind) {
        self.wait(limit - secs(1));
        self.world.pass(secs(1) - INSTANT);
        assert_eq!(self.ended.get(), None);
        self.world.pass(INSTANT);
        if kind == ClientErrorKind::UploadTimeout {
            // When the last of it was taken is known to a quarter.
            self.wait(limit / 4 + secs(1));
        }
        assert_eq!(self.ended.get(), Some(Err(kind)));
        assert!(self.upstream.accept().is_none());
    }
}

fn kind(failure: &Failure) -> ClientErrorKind {
    failure.downcast_ref::<ClientError>().expect("a ClientError").kind()
}

/// Sends over a channel whose reader may leave.
fn put(sender: &mut BodySender, bytes: &'static str) {
    drop(sender.send(bytes).settled());
}

#[test]
fn the_time_for_an_answer_begins_when_the_request_is_out() {
    let (mut sender, body) = Body::channel(10);
    let (mut exchange, peer) = Exchange::begin(ClientOptions::default(), None, body);
    for _ in 0..5 {
        put(&mut sender, "0123456789");
        exchange.world.pass(secs(20));
        assert!(!peer.received().is_empty());
    }
    sender.finish();
    exchange.world.settle();
    exchange.ends_after(secs(30), ClientErrorKind::HeadTimeout);
}

#[test]
fn whoever_makes_the_body_may_take_hours() {
    let (mut sender, body) = Body::channel(10);
    let (mut exchange, peer) = Exchange::begin(ClientOptions::default(), None, body);
    exchange.world.pass(secs(3 * 3600));
    put(&mut sender, "0123456789");
    exchange.world.pass(secs(3 * 3600));
    sender.finish();
    exchange.world.settle();
    assert!(peer.received().ends_with(b"0\r\n\r\n"));
    peer.send("HTTP/1.1 204 No Content\r\n\r\n");
    exchange.world.settle();
    assert_eq!(exchange.ended.get(), Some(Ok(204)));
}

#[test]
fn an_upload_that_is_not_taken_ends_and_one_that_moves_does_not() {
    for body in [Body::from(vec![0; 5_000_000]), endless()] {
        let (mut exchange, peer) = Exchange::begin(ClientOptions::default(), Some(70_000), body);
        for _ in 0..20 {
            exchange.world.pass(secs(20));
            assert!(!peer.received().is_empty());
            exchange.world.settle();
        }
        exchange.ends_after(secs(30), ClientErrorKind::UploadTimeout);
    }
}

#[test]
fn a_slow_link_takes_an_upload_byte_by_byte() {
    let body = Body::from(vec![0; 500_000]);
    let (mut exchange, peer) = Exchange::begin(ClientOptions::default(), Some(1000), body);
    for _ in 0..100 {
        exchange.world.pass(secs(20));
        assert!(!peer.receive(10).is_empty());
        exchange.world.settle();
    }
    exchange.ends_after(secs(30), ClientErrorKind::UploadTimeout);
}

/// A body that always has more.
fn endless() -> Body {
    let (mut sender, body) = Body::channel(10);
    flow::<()>(async move {
        loop {
            sender.send(vec![0; 1000]).await?;
        }
    })
    .recover(|_| ())
    .report();
    body
}

#[test]
fn each_limit_has_its_own_length() {
    let mut options = ClientOptions::default();
    (options.head, options.upload) = (secs(2), secs(500));
    let (mut exchange, _peer) = Exchange::begin(options, None, Body::from("all of it"));
    exchange.ends_after(secs(2), ClientErrorKind::HeadTimeout);
    drop(exchange);
    let (mut exchange, _peer) = Exchange::begin(options, Some(10), Body::from(vec![0; 500_000]));
    exchange.ends_after(secs(500), ClientErrorKind::UploadTimeout);
    drop(exchange);
    (options.head, options.upload) = (Duration::MAX, Duration::MAX);
    let (mut exchange, _peer) = Exchange::begin(options, Some(10), Body::from(vec![0; 500_000]));
    exchange.world.pass(secs(365 * 86_400));
    assert_eq!(exchange.ended.get(), None);
}

#[test]
fn a_limit_of_nothing_ends_what_has_to_wait() {
    let mut options = ClientOptions::default();
    options.upload = Duration::ZERO;
    let (mut exchange, _peer) = Exchange::begin(options, None, Body::from("all of it"));
    exchange.ends_after(secs(30), ClientErrorKind::HeadTimeout);
    drop(exchange);
    options.head = Duration::ZERO;
    let (mut exchange, _peer) = Exchange::begin(options, None, Body::from("all of it"));
    exchange.world.pass(INSTANT);
    assert_eq!(exchange.ended.get(), Some(Err(ClientErrorKind::HeadTimeout)));
}

/// Reads an answer's body to its end.
fn read(mut answer: Response) -> Deferred<Option<ClientErrorKind>> {
    flow(async move {
        loop {
            match answer.body_mut().chunk().await {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(failure) => return Ok(Some(kind(&failure))),
            }
        }
    })
}

#[test]
fn an_answer_that_stalls_fails_its_reader_and_only_while_there_is_one() {
    for limit in [secs(30), Duration::MAX] {
        let mut world = World::new();
        let upstream = world.manual.listen(ANY).unwrap();
        let mut options = ClientOptions::default();
        options.body = limit;
        let client = Client::new(options);
        let uri = format!("http://{}/", upstream.local_addr());
        let answer = client.request(http::Request::get(uri).body(Body::empty()).unwrap());
        world.settle();
        let peer = upstream.accept().unwrap();
        peer.received();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
        // Nobody reads: nobody waits.
        world.pass(secs(3600));
        let ended = Rc::new(Cell::new(None));
        let told = ended.clone();
        answer.and_then(read).map(move |kind| told.set(Some(kind))).report();
        world.settle();
        for _ in 0..2 {
            world.pass(secs(29));
            peer.send("d");
            world.settle();
        }
        world.pass(secs(30) - INSTANT);
        assert_eq!(ended.get(), None);
        world.pass(INSTANT);
        if limit == Duration::MAX {
            world.pass(secs(10 * 3600));
            peer.send("efgh");
            world.settle();
            assert_eq!((ended.get(), client.idle()), (Some(None), 1));
        } else {
            assert_eq!(ended.get(), Some(Some(ClientErrorKind::BodyTimeout)));
            assert!((peer.is_at_end() || peer.is_reset()) && client.idle() == 0);
        }
    }
}
