//! Looking names up, and happy eyeballs by the manual clock.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io::{self, ErrorKind},
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use thence_core::{Deferred, Failure, Trigger, flow};
use thence_reactor::{
    Reactor,
    dns::{self, Destination, NotReached, happy_eyeballs},
    driver::manual::Manual,
    net::{TcpListener, TcpStream},
    run,
};

use crate::common::{ANY, Log, World, ms, watch};

#[test]
fn a_numeric_address_is_its_own_answer_at_once() {
    let mut world = World::new();
    assert_eq!(watch(dns::lookup("127.0.0.1", 80)).ok(), addresses(&["127.0.0.1:80"]));
    assert_eq!(watch(dns::lookup("::1", 80)).ok(), addresses(&["[::1]:80"]));
    world.settle();
    assert_eq!(world.manual.jobs_waiting(), 0);
}

#[test]
fn a_name_is_looked_up_on_the_pool() {
    let mut world = World::new();
    let found = watch(dns::lookup("localhost", 80));
    world.settle();
    assert!(!found.has_ended());
    assert!(world.manual.run_job());
    world.settle();
    let found = found.ok();
    assert!(!found.is_empty());
    assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 80));
}

#[test]
fn a_name_that_is_unknown_is_named() {
    let mut world = World::new();
    // Too long for a label, so that nobody is asked.
    let name = "x".repeat(64);
    let found = watch(dns::lookup(name.as_str(), 80));
    world.manual.run_job();
    world.settle();
    assert_eq!(found.err().to_string(), format!("cannot look up {name}"));
}

#[test]
fn a_look_up_that_was_cancelled_or_left_leaves_the_queue() {
    let mut world = World::new();
    let cancelled = dns::lookup("localhost", 80);
    let canceller = cancelled.canceller();
    let cancelled = watch(cancelled);
    let left = dns::lookup("localhost.", 80);
    assert_eq!(world.manual.jobs_waiting(), 2);
    canceller.cancel();
    drop(left);
    world.settle();
    assert!(cancelled.is_cancelled());
    assert_eq!(world.manual.jobs_waiting(), 0);
}

#[test]
fn those_who_ask_for_one_name_wait_for_one_look_up() {
    let mut world = World::new();
    let first = watch(dns::lookup("localhost", 80));
    let left = dns::lookup("localhost", 81);
    let cancelled = dns::lookup("localhost", 82);
    let canceller = cancelled.canceller();
    let cancelled = watch(cancelled);
    let last = watch(dns::lookup("localhost", 83));
    assert_eq!(world.manual.jobs_waiting(), 1);
    drop(left);
    canceller.cancel();
    world.settle();
    assert!(cancelled.is_cancelled() && !first.has_ended());
    assert!(world.manual.run_job());
    world.settle();
    assert!(first.ok().iter().all(|address| address.port() == 80));
    assert!(last.ok().iter().all(|address| address.port() == 83));
    // Nothing is kept: whoever asks now, asks anew.
    let anew = watch(dns::lookup("localhost", 80));
    assert_eq!(world.manual.jobs_waiting(), 1);
    assert!(world.manual.run_job());
    world.settle();
    assert!(!anew.ok().is_empty());
}

#[test]
fn whoever_asks_when_all_have_left_waits_for_a_look_up_of_their_own() {
    let mut world = World::new();
    let left = dns::lookup("localhost", 80);
    left.cancel();
    let found = watch(dns::lookup("localhost", 80));
    drop(left);
    world.settle();
    assert!(world.manual.run_job());
    world.settle();
    assert!(!found.ok().is_empty());
    assert_eq!(world.manual.jobs_waiting(), 0);
}

#[test]
fn look_ups_take_half_of_the_threads_and_turns() {
    let manual = Manual::new();
    let mut reactor = Reactor::builder().driver(manual.clone()).pool_threads(8).build().unwrap();
    let found: Vec<_> =
        (0..20).map(|n| watch(dns::lookup(format!("{n}{}", "x".repeat(64)), 80))).collect();
    let mut most = 0;
    while found.iter().any(|found| !found.has_ended()) {
        most = most.max(manual.jobs_waiting());
        manual.run_job();
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!((most, manual.jobs_waiting()), (4, 0));
    for (n, found) in found.into_iter().enumerate() {
        assert!(found.err().to_string().starts_with(&format!("cannot look up {n}x")));
    }
}

#[test]
fn look_ups_that_have_not_begun_end_with_their_reactor() {
    let manual = Manual::new();
    let reactor = Reactor::builder().driver(manual).pool_threads(2).build().unwrap();
    let found: Vec<_> = (0..3).map(|n| watch(dns::lookup(format!("{n}.localhost"), 80))).collect();
    drop(reactor);
    assert!(found.iter().all(|found| found.has_ended()));
    assert!(found[1].is_cancelled() && found[2].is_cancelled());
    drop(found[0].stop());
}

#[test]
fn a_look_up_cancelled_while_the_system_is_asked_ends_at_once() {
    let mut world = World::new();
    let found = dns::lookup("localhost", 80);
    let canceller = found.canceller();
    let found = watch(found);
    assert!(world.manual.run_job());
    canceller.cancel(); // its answer is on the way
    assert!(found.is_cancelled());
    world.settle();
}

#[test]
fn a_destination_is_what_people_write() {
    let same = |text: &str, other: Destination| assert_eq!(Destination::from(text), other);
    same("127.0.0.1:80", Destination::from(address("127.0.0.1:80")));
    same("[::1]:80", Destination::from(("::1", 80)));
    same("example.org:443", Destination::from(("example.org".to_owned(), 443)));
    for unclear in ["example.org", "example.org:http", ":80", "::1", "[::1]", "http://a/", ""] {
        let mut world = World::new();
        let failure = watch(Destination::from(unclear).connect(|_| Deferred::ok(()))).err();
        let said = format!("{failure:#}");
        assert!(said.contains(&format!("`{unclear}` is not where one can connect to")), "{said}");
        world.settle();
    }
}

#[test]
fn a_stream_connects_to_a_name_by_whichever_address_answers() {
    // `localhost` may be `::1` too, where nobody listens.
    let greeting = run(async {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr().port();
        flow(async move { listener.accept().await?.0.write("hello").await }).report();
        TcpStream::connect(("localhost", port)).await?.read_exact(5).await
    });
    assert_eq!(greeting.unwrap(), "hello");
}

#[test]
fn a_name_where_nobody_listens_is_named_with_its_addresses() {
    let refused = run(async {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr().port();
        let failure = TcpStream::connect(format!("localhost:{port}")).await.map(drop).unwrap_err();
        Ok((port, failure))
    });
    let (port, failure) = refused.unwrap();
    assert_eq!(failure.to_string(), format!("cannot connect to localhost:{port}"));
    let error: &io::Error = failure.downcast_ref().unwrap();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert!(format!("{failure:#}").contains(&format!("127.0.0.1:{port}")), "{failure:#}");
}

#[test]
fn a_connect_that_was_left_or_cancelled_leaves_no_socket_open() {
    let mut world = World::new();
    let [one, other] = [(); 2].map(|()| world.manual.listen(ANY).unwrap());
    let both = vec![one.local_addr(), other.local_addr()];

    let kept = watch(TcpStream::connect(both.clone()));
    world.settle();
    let kept = kept.ok();
    assert!(!one.accept().unwrap().is_at_end());
    drop(kept);

    drop(TcpStream::connect(both.clone()));
    let cancelled = TcpStream::connect(both);
    cancelled.cancel();
    let cancelled = watch(cancelled);
    world.settle();
    assert!(cancelled.is_cancelled());
    assert!(one.accept().is_none_or(|peer| peer.is_at_end()));
    assert!(one.accept().is_none() && other.accept().is_none());
    assert_eq!(world.reactor.next_timeout(), None);
}

#[test]
fn one_address_is_connected_to_and_no_clock_is_asked() {
    let mut race = Race::new();
    let outcome = watch(race.connect(&["10.0.0.1:1"]));
    race.answer("10.0.0.1:1");
    race.world.settle();
    assert_eq!(outcome.ok().0, address("10.0.0.1:1"));
    assert_eq!(race.world.reactor.next_timeout(), None);
}

#[test]
fn families_take_turns_beginning_with_the_first() {
    let mut race = Race::new();
    let all = ["[::1]:1", "[::2]:1", "[::3]:1", "10.0.0.1:1", "10.0.0.2:1"];
    let outcome = race.connect(&all);
    for _ in 0..4 {
        race.world.pass(ms(250));
    }
    assert_eq!(race.begun(), ["[::1]:1", "10.0.0.1:1", "[::2]:1", "10.0.0.2:1", "[::3]:1"]);
    outcome.cancel();
    drop(outcome);
}

#[test]
fn the_next_attempt_begins_after_a_quarter_of_a_second_and_not_before() {
    let mut race = Race::new();
    let outcome = watch(race.connect(&["[::1]:1", "10.0.0.1:1", "[::2]:1"]));
    race.world.pass(ms(249));
    assert_eq!(race.begun(), ["[::1]:1"]);
    race.world.pass(ms(1));
    assert_eq!(race.begun(), ["[::1]:1", "10.0.0.1:1"]);
    race.world.pass(ms(249));
    assert_eq!(race.begun().len(), 2);
    race.world.pass(ms(1));
    assert_eq!(race.begun().len(), 3);
    race.answer("10.0.0.1:1");
    race.world.settle();
    assert_eq!(outcome.ok().0, address("10.0.0.1:1"));
}

#[test]
fn the_next_attempt_begins_at_once_when_one_fails_and_the_clock_begins_anew() {
    let mut race = Race::new();
    let outcome = watch(race.connect(&["[::1]:1", "10.0.0.1:1", "[::2]:1"]));
    race.world.pass(ms(200));
    race.refuse("[::1]:1");
    race.world.settle();
    assert_eq!(race.begun(), ["[::1]:1", "10.0.0.1:1"]);
    race.world.pass(ms(249));
    assert_eq!(race.begun().len(), 2);
    race.world.pass(ms(1));
    assert_eq!(race.begun().len(), 3);
    race.answer("[::2]:1");
    race.world.settle();
    assert_eq!(outcome.ok().0, address("[::2]:1"));
}

#[test]
fn the_first_connection_wins_and_the_others_are_asked_to_end_and_waited_for() {
    let mut race = Race::new();
    race.slow_to_end.set(true);
    let outcome = watch(race.connect(&["[::1]:1", "10.0.0.1:1", "[::2]:1"]));
    race.world.pass(ms(250));
    race.answer("10.0.0.1:1");
    race.world.settle();
    assert_eq!(race.asked_to_end(), ["[::1]:1"]);
    assert!(!outcome.has_ended());
    race.world.pass(ms(1000));
    assert_eq!(race.begun().len(), 2);
    race.answer("[::1]:1"); // too late: closed
    race.world.settle();
    assert_eq!(race.dropped(), ["[::1]:1"]);
    assert_eq!(outcome.ok().0, address("10.0.0.1:1"));
    assert_eq!(race.world.reactor.next_timeout(), None);
}

#[test]
fn a_loser_that_fails_begins_no_other_attempt() {
    let mut race = Race::new();
    race.slow_to_end.set(true);
    let outcome = watch(race.connect(&["[::1]:1", "10.0.0.1:1", "[::2]:1"]));
    race.world.pass(ms(250));
    race.answer("10.0.0.1:1");
    race.world.settle();
    race.refuse("[::1]:1");
    race.world.settle();
    assert_eq!(outcome.ok().0, address("10.0.0.1:1"));
    assert_eq!(race.begun().len(), 2);
}

#[test]
fn when_all_fail_each_failure_is_told_with_its_address() {
    let mut race = Race::new();
    let outcome = watch(race.connect(&["[::1]:1", "10.0.0.1:1"]));
    race.refuse("[::1]:1");
    race.world.settle();
    race.refuse("10.0.0.1:1");
    race.world.settle();
    let failure = outcome.err();
    let error: &io::Error = failure.downcast_ref().unwrap();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    let all: &NotReached = error.get_ref().unwrap().downcast_ref().unwrap();
    let failed: Vec<_> = all.failures().map(|(address, _)| address).collect();
    assert_eq!(failed, addresses(&["[::1]:1", "10.0.0.1:1"]));
    assert_eq!(
        failure.to_string(),
        "none of 2 addresses answered: [::1]:1: connection refused; \
         10.0.0.1:1: connection refused"
    );
}

#[test]
fn the_only_address_fails_with_its_own_failure() {
    let mut race = Race::new();
    let outcome = watch(race.connect(&["[::1]:1"]));
    race.refuse("[::1]:1");
    race.world.settle();
    assert_eq!(outcome.err().to_string(), "connection refused");
    let none = watch(happy_eyeballs(Vec::new(), |_| Deferred::ok(())));
    assert_eq!(none.err().to_string(), "there is no address to connect to");
}

#[test]
fn cancelled_or_left_every_attempt_is_asked_to_end_and_no_other_begins() {
    for cancel in [true, false] {
        let mut race = Race::new();
        let outcome = race.connect(&["[::1]:1", "10.0.0.1:1", "[::2]:1"]);
        race.world.pass(ms(250));
        if cancel {
            outcome.cancel();
            assert!(watch(outcome).is_cancelled());
        } else {
            drop(outcome);
        }
        assert_eq!(race.world.reactor.next_timeout(), None);
        race.world.pass(ms(1000));
        assert_eq!(race.begun().len(), 2);
        assert_eq!(race.asked_to_end(), ["[::1]:1", "10.0.0.1:1"]);
    }
}

#[test]
fn a_connection_that_was_there_before_the_request_is_the_result() {
    let mut race = Race::new();
    race.slow_to_end.set(true);
    let outcome = race.connect(&["[::1]:1", "10.0.0.1:1"]);
    let canceller = outcome.canceller();
    let outcome = watch(outcome);
    canceller.cancel();
    race.answer("[::1]:1");
    race.world.settle();
    assert_eq!(outcome.ok().0, address("[::1]:1"));
}

#[test]
fn an_attempt_that_panics_ends_the_race_and_stops_the_rest() {
    let mut world = World::new();
    let attempts = Log::new();
    let begun = attempts.clone();
    let outcome = watch(happy_eyeballs(addresses(&["[::1]:1", "10.0.0.1:1"]), move |address| {
        begun.push(address);
        panic!("no {address}");
        #[expect(unreachable_code, reason = "names the type")]
        Deferred::ok(())
    }));
    world.settle();
    assert!(outcome.stop().contains("no [::1]:1"));
    assert_eq!(attempts.all().len(), 1);
}

/// Attempts that end when the test says so.
struct Race {
    world: World,
    pending: Rc<RefCell<BTreeMap<SocketAddr, Trigger<Connection>>>>,
    begun: Log<String>,
    asked: Log<String>,
    dropped: Log<String>,
    /// A request does not end an attempt.
    slow_to_end: Rc<Cell<bool>>,
}

/// Says when nobody has it any more.
struct Connection(SocketAddr, Log<String>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.1.push(self.0.to_string());
    }
}

impl Race {
    fn new() -> Self {
        Race {
            world: World::new(),
            pending: Rc::default(),
            begun: Log::new(),
            asked: Log::new(),
            dropped: Log::new(),
            slow_to_end: Rc::default(),
        }
    }

    fn connect(&self, to: &[&str]) -> Deferred<Connection> {
        let (pending, begun) = (self.pending.clone(), self.begun.clone());
        let (asked, slow) = (self.asked.clone(), self.slow_to_end.clone());
        let connect = move |address: SocketAddr| {
            begun.push(address.to_string());
            let (trigger, deferred) = Deferred::new();
            let (asked, slow) = (asked.clone(), slow.clone());
            let weak = Rc::downgrade(&pending);
            trigger.on_cancel(move || {
                asked.push(address.to_string());
                let pending = weak.upgrade().filter(|_| !slow.get());
                drop(pending.and_then(|pending| pending.borrow_mut().remove(&address)));
            });
            pending.borrow_mut().insert(address, trigger);
            deferred
        };
        happy_eyeballs(addresses(to), connect)
    }

    fn answer(&self, of: &str) {
        let trigger = self.pending.borrow_mut().remove(&address(of)).unwrap();
        trigger.fire(Connection(address(of), self.dropped.clone()));
    }

    fn refuse(&self, of: &str) {
        let trigger = self.pending.borrow_mut().remove(&address(of)).unwrap();
        let error = io::Error::new(ErrorKind::ConnectionRefused, "connection refused");
        trigger.fail(Failure::from(error));
    }

    fn begun(&self) -> Vec<String> {
        self.begun.all()
    }

    fn asked_to_end(&self) -> Vec<String> {
        self.asked.all()
    }

    fn dropped(&self) -> Vec<String> {
        self.dropped.all()
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| address(text)).collect()
}
