//! Look-ups on a loop whose clock and pool the test drives.

use std::{cell::Cell, rc::Rc, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, header};
use thence::{Deferred, Outcome, Reactor, driver::manual::Manual};
use thence_gate::{
    answer::Refusal,
    cut::Switch,
    denied::Denied,
    metrics::Metrics,
    session::{Cookie, Life, Session, Span, Stamp, Store},
    sessions::Sessions,
};

const LIFE: Life = Life { absolute: Span::seconds(3600), idle: Some(Span::seconds(600)) };

struct Bench {
    reactor: Reactor,
    world: Manual,
    sessions: Rc<Sessions>,
    metrics: Rc<Metrics>,
    store: Arc<Store>,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new(queue: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&dir.path().join("sessions.db")).unwrap());
        let metrics = Rc::new(Metrics::default());
        let world = Manual::new();
        let reactor = Reactor::builder().driver(world.clone()).pool_queue(queue).build().unwrap();
        let sessions = Rc::new(Sessions::new(store.clone(), Cookie::Plain, metrics.clone()));
        Self { reactor, world, sessions, metrics, store, _dir: dir }
    }

    fn cookie(&self) -> String {
        self.store.create(&"42".parse().unwrap(), LIFE, Stamp::now()).unwrap().value
    }

    fn ask(&self, cookie: Option<&str>) -> Deferred<Session, Denied> {
        let line = |value| HeaderValue::from_str(&format!("sessionId={value}")).unwrap();
        let headers: HeaderMap =
            cookie.map(|value| (header::COOKIE, line(value))).into_iter().collect();
        self.sessions.of_cookie(&headers)
    }

    /// Runs what waits for the pool, and delivers it.
    fn run_jobs(&mut self) {
        while self.world.run_job() {}
        self.turn();
    }

    /// So many milliseconds, and the turns in which a late answer would still be taken.
    fn late_turns(&mut self, millis: u32) {
        for _ in 0..millis + 5 {
            self.world.advance(Duration::from_millis(1));
            self.turn();
        }
    }

    fn turn(&mut self) {
        self.reactor.turn(Some(Duration::ZERO)).unwrap();
    }

    fn end(&mut self, asked: Deferred<Session, Denied>) -> Result<Session, Refusal> {
        let slot = Rc::new(std::cell::RefCell::new(None));
        let end = slot.clone();
        asked.settled().done(move |outcome| drop(end.replace(Some(outcome))));
        self.turn();
        match slot.take().expect("it has ended") {
            Outcome::Ok(session) => Ok(session),
            Outcome::Err(denied) => Err(denied.refusal),
            Outcome::Stop(stop) => panic!("{stop}"),
        }
    }

    fn counted(&self, result: &str) -> bool {
        let line = format!("thence_gate_session_lookups_total{{result=\"{result}\"}} 1\n");
        self.metrics.render().contains(&line)
    }
}

#[test]
fn a_signed_cookie_is_looked_up_on_the_pool() {
    let mut bench = Bench::new(8);
    let cookie = bench.cookie();
    let asked = bench.ask(Some(&cookie));
    assert!(!asked.is_ready());
    assert_eq!(bench.sessions.waiting(), 1);
    bench.run_jobs();
    assert_eq!(bench.end(asked).unwrap().account.as_str(), "42");
    assert_eq!(bench.sessions.waiting(), 0);
    assert!(bench.counted("hit"));
}

#[test]
fn a_request_without_a_cookie_of_ours_asks_nobody() {
    let mut bench = Bench::new(8);
    for cookie in [None, Some("garbage"), Some(&"A".repeat(55)[..])] {
        let asked = bench.ask(cookie);
        assert_eq!(bench.world.jobs_waiting(), 0, "{cookie:?}");
        assert_eq!(bench.end(asked), Err(Refusal::NoSession));
    }
}

#[test]
fn a_look_up_that_takes_too_long_is_no_401() {
    let mut bench = Bench::new(8);
    let cookie = bench.cookie();
    let asked = bench.ask(Some(&cookie));
    bench.world.advance(Duration::from_millis(249));
    bench.turn();
    assert!(!asked.is_ready());
    bench.late_turns(2);
    assert_eq!(bench.end(asked), Err(Refusal::StoreDown));
    assert!(bench.counted("shed"));
    assert_eq!(bench.world.jobs_waiting(), 0, "nobody asks the store for it any more");
}

#[test]
fn an_answer_that_waits_for_a_busy_loop_is_taken_though_its_time_is_up() {
    let mut bench = Bench::new(8);
    let cookies = [0; 3].map(|_| bench.cookie());
    // The third waits for a batch of its own.
    let asked = cookies.each_ref().map(|cookie| bench.ask(Some(cookie)));
    // The store answers while the loop does something else for a second, twice.
    for _ in 0..2 {
        while bench.world.run_job() {}
        bench.world.advance(Duration::from_secs(1));
        bench.turn();
    }
    for asked in asked {
        bench.end(asked).unwrap();
    }
}

#[test]
fn a_full_queue_is_no_401() {
    let mut bench = Bench::new(1);
    let cookie = bench.cookie();
    let first = bench.ask(Some(&cookie));
    let second = bench.ask(Some(&cookie));
    assert_eq!(bench.end(second), Err(Refusal::StoreDown));
    bench.run_jobs();
    bench.end(first).unwrap();
}

#[test]
fn a_store_that_fails_is_no_401() {
    let mut bench = Bench::new(8);
    let cookie = bench.cookie();
    let breaking = rusqlite::Connection::open(bench.store.path()).unwrap();
    breaking.execute_batch("DROP TABLE session").unwrap();
    let asked = bench.ask(Some(&cookie));
    bench.run_jobs();
    assert_eq!(bench.end(asked), Err(Refusal::StoreDown));
    assert!(bench.counted("error"));
}

#[test]
fn a_revoked_session_is_missing_from_the_next_request_on() {
    let mut bench = Bench::new(8);
    let cookie = bench.cookie();
    let asked = bench.ask(Some(&cookie));
    bench.run_jobs();
    bench.end(asked).unwrap();
    bench.store.revoke_account(&"42".parse().unwrap(), Stamp::now()).unwrap();
    let asked = bench.ask(Some(&cookie));
    bench.run_jobs();
    assert_eq!(bench.end(asked), Err(Refusal::NoSession));
    assert!(bench.counted("revoked"));
}

#[test]
fn who_leaves_before_the_look_up_began_costs_no_read() {
    let mut bench = Bench::new(8);
    let cookie = bench.cookie();
    let asked = bench.ask(Some(&cookie));
    asked.cancel();
    bench.turn();
    assert_eq!(bench.world.jobs_waiting(), 0);
    assert_eq!(bench.sessions.waiting(), 0);
    drop(asked);
}

#[test]
fn two_thousand_who_ask_at_once_are_all_answered_by_a_few_jobs() {
    let mut bench = Bench::new(8);
    let cookies: Vec<_> = (0..50).map(|_| bench.cookie()).collect();
    let asked: Vec<_> = (0..2000).map(|n| bench.ask(Some(&cookies[n % cookies.len()]))).collect();
    let mut jobs = 0;
    while bench.sessions.waiting() > 0 {
        assert!(bench.world.jobs_waiting() <= 2, "the pool has other things to do");
        assert!(bench.world.run_job());
        bench.turn();
        jobs += 1;
    }
    assert_eq!(jobs, 3, "two of one key, and one of all the others");
    for asked in asked {
        bench.end(asked).unwrap();
    }
}

#[test]
fn a_sweep_removes_all_that_is_due_and_lets_others_write_between() {
    let mut bench = Bench::new(8);
    let cookie = bench.cookie();
    let raw = rusqlite::Connection::open(bench.store.path()).unwrap();
    let many = "INSERT INTO session WITH RECURSIVE n(i) AS
        (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2200)
        SELECT randomblob(32), 'u', 0, 1, NULL, 0, ?1 + i, NULL FROM n";
    let ended = Stamp::now().before(Span::seconds(7200));
    raw.execute(many, [ended.millis()]).unwrap();
    let rows =
        || -> i64 { raw.query_row("SELECT count(*) FROM session", [], |row| row.get(0)).unwrap() };
    bench.sessions.sweep().done(|()| {});
    bench.run_jobs();
    assert_eq!(rows(), 1701);
    let lag = "thence_gate_sweep_lag_seconds 3";
    assert!(bench.metrics.render().contains(lag), "an hour: {}", bench.metrics.render());
    let mut batches = 1;
    while rows() > 1 {
        assert_eq!(bench.world.jobs_waiting(), 0, "it pauses");
        bench.store.create(&"43".parse().unwrap(), LIFE, Stamp::now()).unwrap();
        bench.store.revoke_account(&"43".parse().unwrap(), Stamp::now()).unwrap();
        raw.execute("DELETE FROM session WHERE account = '43'", []).unwrap();
        bench.world.advance(Duration::from_millis(60));
        bench.turn();
        bench.run_jobs();
        batches += 1;
    }
    assert_eq!(batches, 5);
    assert!(bench.metrics.render().contains("thence_gate_sweep_lag_seconds 0\n"));
    let asked = bench.ask(Some(&cookie));
    bench.run_jobs();
    bench.end(asked).unwrap();
}

#[test]
fn a_store_that_does_not_answer_cuts_nobody() {
    let mut bench = Bench::new(8);
    let cookie = bench.cookie();
    let asked = bench.ask(Some(&cookie));
    bench.run_jobs();
    let session = bench.end(asked).unwrap();
    let cut = Rc::new(Cell::new(false));
    let told = cut.clone();
    let _watching = bench.sessions.watch(&session, Switch::new(move || told.set(true)));
    let raw = rusqlite::Connection::open(bench.store.path()).unwrap();
    raw.execute_batch("UPDATE session SET revoked_at = 1").unwrap();
    for (change, is_cut) in [
        ("ALTER TABLE session RENAME TO away", false),
        ("ALTER TABLE away RENAME TO session", true),
    ] {
        raw.execute_batch(change).unwrap();
        bench.world.advance(Duration::from_secs(1));
        bench.turn();
        bench.sessions.check_live().done(|()| {});
        bench.run_jobs();
        assert_eq!(cut.get(), is_cut, "{change}");
    }
}

#[test]
fn a_stream_counts_as_a_use_while_it_moves_and_not_while_it_waits() {
    for moves in [false, true] {
        let mut bench = Bench::new(8);
        let then = Stamp::now().before(Span::seconds(120));
        let value = bench.store.create(&"42".parse().unwrap(), LIFE, then).unwrap().value;
        let key = bench.store.key().open(value.as_bytes()).unwrap().row_key();
        let (account, handle) = ("42".parse().unwrap(), key.handle());
        let session = Session { key, account, handle, touch: false };
        let switch = Switch::default();
        let _watching = bench.sessions.watch(&session, switch.clone());
        if moves {
            switch
                .answer("data".into())
                .collect(10)
                .inspect(|bytes| assert_eq!(bytes, "data"))
                .report();
        }
        bench.turn();
        bench.world.advance(Duration::from_secs(1));
        bench.turn();
        bench.sessions.check_live().done(|()| {});
        bench.run_jobs();
        bench.sessions.write_touches().done(|()| {});
        bench.run_jobs();
        let touched = format!("thence_gate_sessions_touched_total {}\n", u8::from(moves));
        assert!(bench.metrics.render().contains(&touched), "{}", bench.metrics.render());
    }
}

#[test]
fn nothing_noted_is_nothing_written() {
    let mut bench = Bench::new(8);
    bench.sessions.write_touches().done(|()| {});
    assert_eq!(bench.world.jobs_waiting(), 0);
    bench.turn();
}
