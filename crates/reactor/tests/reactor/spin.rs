//! A loop that looks around for a while before it sleeps. Nothing tells when a loop spins and when it
//! sleeps, so the other threads here wait for a moment of real time until it does.

use std::{
    env,
    process::{self, Command},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use thence_core::hosting;
use thence_reactor::{Reactor, after, net::TcpStream, offload};

use crate::common::{Log, World, ms};

/// As good as for ever.
const LONG: Duration = Duration::from_secs(3600);

#[test]
fn a_post_reaches_a_spinning_loop_that_nobody_could_wake() {
    let mut reactor = Reactor::builder().spin(LONG).build().unwrap();
    hosting::inbox().set_waker(Arc::new(|| ()));
    let handle = reactor.handle();
    let (tx, rx) = mpsc::channel();
    let other = thread::spawn(move || {
        thread::sleep(ms(5));
        handle.call(move || tx.send("called").unwrap()).unwrap();
    });
    reactor.turn(Some(LONG)).unwrap();
    assert_eq!(rx.try_recv(), Ok("called"));
    other.join().unwrap();
}

#[test]
fn input_reaches_a_spinning_loop() {
    use std::{io::Write, net::TcpListener};

    let mut reactor = Reactor::builder().spin(LONG).build().unwrap();
    let listener = TcpListener::bind(crate::common::ANY).unwrap();
    let addr = listener.local_addr().unwrap();
    let other = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        thread::sleep(ms(5));
        socket.write_all(b"hello").unwrap();
    });
    let said = reactor.run(async move {
        let stream = TcpStream::connect(addr).await?;
        stream.read_exact(5).await
    });
    assert_eq!(said.unwrap(), "hello");
    other.join().unwrap();
}

#[test]
fn a_timer_is_not_late_because_the_loop_spins_and_not_early() {
    let mut reactor = Reactor::builder().spin(LONG).build().unwrap();
    let waited = reactor.run(async {
        let begun = Instant::now();
        after(ms(5)).await;
        Ok(begun.elapsed())
    });
    assert!(waited.unwrap() >= ms(5));
}

#[test]
fn a_turn_waits_no_longer_than_it_is_told_though_it_spins() {
    for spin in [Duration::from_micros(300), LONG] {
        let mut reactor = Reactor::builder().spin(spin).build().unwrap();
        let begun = Instant::now();
        reactor.turn(Some(ms(3))).unwrap();
        assert!(begun.elapsed() >= ms(3));
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
}

#[test]
fn after_the_spin_it_sleeps_and_is_woken() {
    let mut reactor = Reactor::builder().spin(Duration::from_micros(200)).build().unwrap();
    let handle = reactor.handle();
    let (tx, rx) = mpsc::channel();
    let other = thread::spawn(move || {
        thread::sleep(ms(20));
        handle.call(move || tx.send("called").unwrap()).unwrap();
    });
    reactor.turn(Some(LONG)).unwrap();
    assert_eq!(rx.try_recv(), Ok("called"));
    other.join().unwrap();
}

#[test]
fn the_end_of_a_job_that_nobody_waits_for_ends_a_run_that_spins() {
    let mut reactor = Reactor::builder().spin(LONG).drain(LONG).build().unwrap();
    let ended = reactor.run(async {
        drop(offload(|| {
            thread::sleep(ms(10));
            Ok(())
        }));
        Ok("ended")
    });
    assert_eq!(ended.unwrap(), "ended");
}

#[test]
fn on_the_manual_driver_it_does_not_spin() {
    let mut world = World::with(|builder| builder.spin(LONG));
    let log = Log::new();
    let seen = log.clone();
    after(ms(5)).done(move |()| seen.push("fired"));
    world.reactor.turn(Some(ms(4))).unwrap();
    world.reactor.turn(Some(ms(4))).unwrap();
    assert_eq!(log.all(), ["fired"]);
}

/// What a process with `spin` in its environment says when it builds a reactor.
fn said_with(spin: &str, program: &str) -> String {
    let ended = Command::new(env::current_exe().unwrap())
        .args(["--exact", "spin::program", "--nocapture"])
        .env("THENCE_TEST_PROGRAM", program)
        .env("THENCE_SPIN_US", spin)
        .output()
        .unwrap();
    assert!(ended.status.success());
    String::from_utf8(ended.stdout).unwrap()
}

/// Run by [`said_with`], in a process of its own.
#[test]
fn program() {
    let Ok(program) = env::var("THENCE_TEST_PROGRAM") else { return };
    let builder = match program.as_str() {
        "sets it" => Reactor::builder().spin(LONG),
        _ => Reactor::builder(),
    };
    let mut reactor = match builder.build() {
        Ok(reactor) => reactor,
        Err(failure) => return println!("failed: {failure}"),
    };
    if program == "builds" {
        return println!("built");
    }
    thread::spawn(|| {
        thread::sleep(Duration::from_secs(60));
        process::exit(3);
    });
    // Asleep it would stay so, for its waker does nothing.
    hosting::inbox().set_waker(Arc::new(|| ()));
    let handle = reactor.handle();
    thread::spawn(move || {
        thread::sleep(ms(5));
        handle.call(|| println!("it spun")).unwrap();
    });
    reactor.turn(Some(LONG)).unwrap();
}

#[test]
fn the_environment_says_how_long_and_the_program_has_the_last_word() {
    assert!(said_with("3600000000", "spins").contains("it spun"));
    assert!(said_with("0", "sets it").contains("it spun"));
    assert!(said_with("", "builds").contains("built"));
    for wrong in ["soon", "-1", "1.5", "50us"] {
        let said = said_with(wrong, "builds");
        assert!(said.contains(&format!("failed: THENCE_SPIN_US is `{wrong}`, which is no number")));
        assert!(said_with(wrong, "sets it").contains("it spun"));
    }
}
