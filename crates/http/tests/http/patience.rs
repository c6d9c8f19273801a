//! Clients that take nothing, that say they send no more, and that are gone.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use thence_core::{Deferred, flow};
use thence_http::{Body, BodySender, HungUp, Request, Response, Server};
use thence_reactor::after;

use crate::common::world::{ANY, ASK, INSTANT, World, secs, whole};

/// What a test keeps of what its handler had.
type Kept<T> = Rc<RefCell<Option<T>>>;

fn large() -> Response {
    Response::new(Body::from("x".repeat(300_000)))
}

#[test]
fn a_client_that_takes_nothing_of_its_answer_for_thirty_seconds_is_cut() {
    let mut world = World::new();
    world.manual.set_capacity(1000);
    let kept: Kept<(BodySender, HungUp)> = Rc::default();
    let keeper = kept.clone();
    let server = world.serve(move |request: Request| {
        let (mut sender, body) = Body::channel(1);
        sender.send("x".repeat(300_000)).recover(|_| ()).done(|()| ());
        keeper.replace(Some((sender, request.hang_up())));
        Deferred::ok(Response::new(body))
    });
    let peer = world.connect(&server);
    peer.send(ASK);
    world.settle();
    world.pass_slowly(secs(29));
    assert_eq!(server.connections(), 1);
    assert!(!kept.borrow().as_ref().unwrap().0.reader_left());
    world.pass_slowly(secs(3));
    assert_eq!(server.connections(), 0);
    let (sender, hung_up) = kept.take().unwrap();
    assert!(sender.reader_left() && hung_up.is_gone());
    world.hear(&peer);
    assert!(peer.is_reset() || peer.is_at_end());
}

#[test]
fn a_client_that_takes_a_little_now_and_then_is_not() {
    let mut world = World::new();
    world.manual.set_capacity(1000);
    let server = Server::bind(ANY).unwrap().body_timeout(secs(5));
    let server = server.serve(|_: Request| Deferred::ok(large()));
    let peer = world.connect(&server);
    peer.send(ASK);
    world.settle();
    for _ in 0..60 {
        world.pass_slowly(secs(3));
        assert_eq!(peer.receive(10).len(), 10);
        world.settle();
    }
    assert_eq!(server.connections(), 1);
    // Until it stops.
    world.pass_slowly(secs(7));
    assert_eq!(server.connections(), 0);
}

#[test]
fn the_last_bytes_of_an_answer_have_their_time_after_it_too() {
    for (pause, is_cut) in [(secs(29), false), (secs(32), true)] {
        let mut world = World::new();
        world.manual.set_capacity(1000);
        let server = world.serve(|_: Request| {
            let mut response = Response::new(Body::from("x".repeat(20_000)));
            response.headers_mut().insert("connection", "close".parse().unwrap());
            Deferred::ok(response)
        });
        let peer = world.connect(&server);
        peer.send(ASK);
        world.settle();
        world.pass_slowly(pause);
        let mut answer = String::new();
        for _ in 0..100 {
            answer += &world.hear(&peer);
        }
        let came = answer.bytes().filter(|byte| *byte == b'x').count();
        assert_eq!(came < 20_000, is_cut, "{came} after {pause:?}");
        world.pass_slowly(secs(2));
        assert_eq!(server.connections(), 0);
    }
}

#[test]
fn a_handler_that_has_nothing_to_say_is_never_cut_for_it() {
    let mut world = World::new();
    let kept: Kept<BodySender> = Rc::default();
    let keeper = kept.clone();
    let server = world.serve(move |_: Request| {
        let (sender, body) = Body::channel(1024);
        keeper.replace(Some(sender));
        Deferred::ok(Response::new(body))
    });
    let peer = world.connect(&server);
    assert!(world.tell(&peer, ASK).contains("chunked"));
    for n in 0..5 {
        world.pass_slowly(secs(100));
        kept.borrow_mut().as_mut().unwrap().send(format!("event {n}")).report();
        assert!(world.hear(&peer).contains(&format!("event {n}")));
    }
}

/// `printf 'GET ..' | nc -N`: it says that this is all, and reads.
#[test]
fn a_client_that_sends_no_more_gets_its_answers() {
    let mut world = World::new();
    let told = Rc::new(Cell::new(0));
    let seen = told.clone();
    let server = world.serve(move |request: Request| {
        let (told, seen) = (told.clone(), request.hung_up());
        seen.done(move |()| told.set(told.get() + 1));
        after(secs(60)).map(|()| whole()).map_err(|never| match never {})
    });
    let peer = world.connect(&server);
    peer.send(ASK.repeat(2));
    world.settle();
    peer.finish();
    world.settle();
    assert_eq!(seen.get(), 1, "it may have left");
    let mut answers = String::new();
    for _ in 0..120 {
        world.pass(secs(1));
        answers += &world.hear(&peer);
    }
    assert_eq!(answers.matches("\r\n\r\nwhole").count(), 2, "{answers}");
    assert_eq!(seen.get(), 2);
    assert!(peer.is_at_end() && !peer.is_reset());
    world.pass(secs(1));
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_stream_to_a_client_that_sends_no_more_goes_on_until_it_pauses() {
    let mut world = World::new();
    let kept: Kept<(BodySender, HungUp)> = Rc::default();
    let keeper = kept.clone();
    let server = world.serve(move |request: Request| {
        let (sender, body) = Body::channel(1024);
        keeper.replace(Some((sender, request.hang_up())));
        Deferred::ok(Response::new(body))
    });
    let peer = world.connect(&server);
    peer.send(ASK);
    peer.finish();
    world.settle();
    for n in 0..20 {
        world.pass(Duration::from_millis(400));
        kept.borrow_mut().as_mut().unwrap().0.send(format!("part {n}")).report();
        assert!(world.hear(&peer).contains(&format!("part {n}")));
    }
    let (sender, hung_up) = kept.take().unwrap();
    assert!(hung_up.has_left() && !hung_up.is_gone());
    world.pass_slowly(secs(2) + INSTANT);
    assert!(sender.reader_left() && hung_up.is_gone());
    assert_eq!(server.connections(), 0);
}

#[test]
fn where_half_of_a_connection_is_none_it_is_cut_at_once() {
    let mut world = World::new();
    let kept: Kept<HungUp> = Rc::default();
    let keeper = kept.clone();
    let server = Server::bind(ANY).unwrap().half_close(false).serve(move |request: Request| {
        keeper.replace(Some(request.hang_up()));
        after(secs(60)).map(|()| whole()).map_err(|never| match never {})
    });
    let peer = world.connect(&server);
    assert_eq!(world.tell(&peer, ASK), "");
    peer.finish();
    world.settle();
    assert!(kept.take().unwrap().is_gone());
    assert_eq!((world.hear(&peer).as_str(), server.connections()), ("", 0));
}

#[test]
fn a_client_that_breaks_its_connection_is_gone_at_once_and_its_handler_is_not_cut() {
    let mut world = World::new();
    let (log, done) = (Rc::<RefCell<Vec<&str>>>::default(), Rc::new(Cell::new(false)));
    let (told, ended) = (log.clone(), done.clone());
    let server = world.serve(move |request: Request| {
        let (left, gone, ended) = (told.clone(), told.clone(), ended.clone());
        request.hung_up().done(move |()| left.borrow_mut().push("left"));
        request.hang_up().gone().done(move |()| gone.borrow_mut().push("gone"));
        flow(async move {
            after(secs(1)).await;
            ended.set(true);
            Ok(whole())
        })
    });
    let peer = world.connect(&server);
    assert_eq!(world.tell(&peer, ASK), "");
    peer.reset();
    world.settle();
    assert_eq!((log.borrow().as_slice(), server.connections()), (["left", "gone"].as_slice(), 0));
    world.pass(secs(1));
    assert!(done.get());
}
