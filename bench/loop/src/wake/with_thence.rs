//! thence: a reactor on each of two threads, which call each other.

use std::cell::RefCell;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use thence_core::{Deferred, Trigger};
use thence_reactor::{Builder, Handle, Reactor, draining};

use super::{TRIPS, WARM_UP, on_core};

pub fn parked() -> Vec<f64> {
    run(Reactor::builder)
}

pub fn spinning() -> Vec<f64> {
    run(|| Reactor::builder().spin(Duration::from_micros(50)))
}

fn run(builder: fn() -> Builder) -> Vec<f64> {
    let (send, receive) = mpsc::channel();
    let other = thread::spawn(move || {
        on_core(1);
        let mut reactor = builder().build().expect("this thread has none");
        send.send(reactor.handle()).expect("it waits for it");
        let ended = reactor.run(async {
            draining().await;
            Ok(())
        });
        ended.expect("nothing fails here");
    });
    let there = receive.recv().expect("the other thread sends it");
    on_core(0);
    let mut reactor = builder().build().expect("this thread has none");
    let here = reactor.handle();
    let nanos = reactor.run(async move {
        let mut start = Instant::now();
        for n in 0..WARM_UP + TRIPS {
            if n == WARM_UP {
                start = Instant::now();
            }
            trip(&there, &here).await?;
        }
        let nanos = start.elapsed().as_nanos() as f64 / f64::from(TRIPS);
        there.stop()?;
        Ok(nanos)
    });
    other.join().expect("it does not panic");
    vec![nanos.expect("nothing fails here")]
}

/// There and back.
fn trip(there: &Handle, here: &Handle) -> Deferred<()> {
    thread_local! {
        static WAITING: RefCell<Option<Trigger<()>>> = const { RefCell::new(None) };
    }
    let (trigger, back) = Deferred::new();
    WAITING.set(Some(trigger));
    let here = here.clone();
    let called = there.call(move || {
        let called = here.call(|| {
            if let Some(trigger) = WAITING.take() {
                trigger.fire(());
            }
        });
        called.expect("it waits for it");
    });
    called.expect("it ends after this");
    back
}
