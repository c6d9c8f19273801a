//! Threads that fire, wake and end as they like (DESIGN.md §3.1, §3.7).

use std::cell::RefCell;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use thence_core::{Deferred, Failure, Outcome, RemoteTrigger, flow, hosting, set_failure_hook};

use crate::common::{Cell, Log, OnDrop, checked, outcome_of};

/// Runs this thread as a host does that sleeps until it is told, until `done`.
fn run_until(done: impl Fn() -> bool) {
    let (inbox, me) = (hosting::inbox(), thread::current());
    inbox.set_waker(Arc::new(move || me.unpark()));
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        let held = hosting::hold();
        hosting::deliver_inbox(8);
        drop(held);
        hosting::run_queue(8);
        if inbox.is_empty() && hosting::queue_is_empty() && !done() {
            thread::park_timeout(deadline.saturating_duration_since(Instant::now()));
        }
        assert!(Instant::now() < deadline, "nobody told this thread");
    }
    inbox.clear_waker();
}

/// Runs `body` on a thread that ends with what it leaves, and gives what was reported there.
fn reports_of_a_thread(body: impl FnOnce() + Send + 'static) -> Vec<String> {
    let (send, reports) = mpsc::channel();
    thread::spawn(move || {
        set_failure_hook(move |report| send.send(report.message().to_owned()).unwrap());
        body();
    })
    .join()
    .unwrap();
    reports.iter().collect()
}

/// Panics when it is dropped.
struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("{}", self.0);
    }
}

#[test]
fn many_threads_fire_drop_post_and_wake_into_one_that_sleeps() {
    const THREADS: usize = 4;
    const ROUNDS: usize = 200;
    checked(|_| {
        let ended = std::rc::Rc::new(RefCell::new([0; 3]));
        let posts = Arc::new(AtomicUsize::new(0));
        let mut work: Vec<Vec<RemoteTrigger<usize>>> = Vec::new();
        for _ in 0..THREADS {
            let remote = |n| {
                let (trigger, d) = Deferred::<usize>::new();
                let ended = ended.clone();
                d.settled().done(move |outcome| {
                    let kind = match outcome {
                        Outcome::Ok(value) => {
                            assert_eq!(value, n);
                            0
                        }
                        Outcome::Err(_) => 1,
                        _ => 2,
                    };
                    ended.borrow_mut()[kind] += 1;
                });
                trigger.remote()
            };
            work.push((0..ROUNDS * 3).map(remote).collect());
        }
        let threads: Vec<_> = work
            .into_iter()
            .map(|remotes| {
                let (inbox, posts) = (hosting::inbox(), posts.clone());
                thread::spawn(move || {
                    for (n, remote) in remotes.into_iter().enumerate() {
                        match n % 3 {
                            0 => remote.fire(n),
                            1 => remote.fail(Failure::msg("no")),
                            _ => drop(remote),
                        }
                        let posts = posts.clone();
                        let count = move || _ = posts.fetch_add(1, Relaxed);
                        inbox.post(Box::new(count)).unwrap();
                    }
                })
            })
            .collect();
        let all = [THREADS * ROUNDS; 3];
        run_until(|| *ended.borrow() == all && posts.load(Relaxed) == 3 * THREADS * ROUNDS);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn many_flows_woken_by_several_threads_at_once_miss_nothing() {
    const THREADS: usize = 3;
    const FLOWS: usize = 500;
    checked(|_| {
        let wakers = Arc::new([const { Mutex::new(Vec::<Waker>::new()) }; THREADS]);
        let facts: Arc<Vec<[AtomicUsize; THREADS]>> =
            Arc::new((0..FLOWS).map(|_| Default::default()).collect());
        let ends: Vec<_> = (0..FLOWS)
            .map(|n| {
                let (wakers, facts) = (wakers.clone(), facts.clone());
                let mut first = true;
                outcome_of(flow(poll_fn(move |task| {
                    if std::mem::take(&mut first) {
                        wakers.iter().for_each(|w| w.lock().unwrap().push(task.waker().clone()));
                    }
                    let done = facts[n].iter().all(|fact| fact.load(Relaxed) == 1);
                    if done { Poll::Ready(Ok::<_, Failure>(n)) } else { Poll::Pending }
                })))
            })
            .collect();
        let threads: Vec<_> = (0..THREADS)
            .map(|id| {
                let (wakers, facts) = (wakers.clone(), facts.clone());
                thread::spawn(move || {
                    let mine = std::mem::take(&mut *wakers[id].lock().unwrap());
                    for (n, waker) in mine.into_iter().enumerate() {
                        // Relaxed: the wake alone carries it home.
                        facts[n][id].store(1, Relaxed);
                        waker.wake();
                    }
                })
            })
            .collect();
        run_until(|| ends.iter().all(|end| !end.is_empty()));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        for (n, end) in ends.iter().enumerate() {
            assert_eq!(end.take().unwrap(), format!("ok {n}"));
        }
    });
}

#[test]
fn wakers_and_remote_ends_outlive_the_thread_they_belong_to() {
    let (send, receive) = mpsc::channel();
    let reports = reports_of_a_thread(move || {
        let (trigger, d) = Deferred::<Box<u8>>::new();
        d.report();
        let (other, d) = Deferred::<Box<u8>>::new();
        d.report();
        let kept = Cell::<Waker>::new();
        let waker = kept.clone();
        // Ends, and its waker stays.
        let ended = flow(poll_fn(move |task| {
            waker.put(task.waker().clone());
            Poll::Ready(Ok::<_, Failure>(()))
        }));
        ended.report();
        send.send((trigger.remote(), other.remote(), kept.take().unwrap())).unwrap();
    });
    assert_eq!(reports, ["lost: nothing is left that could finish it"; 2]);
    let (fired, dropped, waker) = receive.recv().unwrap();
    assert!(!fired.is_cancelled());
    let second = waker.clone();
    thread::spawn(move || {
        second.wake_by_ref();
        waker.wake();
        fired.fire(Box::new(1));
        drop(dropped);
    })
    .join()
    .unwrap();
}

#[test]
fn a_thread_may_end_while_its_remote_ends_are_fired() {
    for _ in 0..50 {
        let (send, receive) = mpsc::channel();
        let home = thread::spawn(move || {
            for n in 0..20_u32 {
                let (trigger, d) = Deferred::<Arc<u32>>::new();
                d.settled().done(drop);
                send.send((n, trigger.remote(), hosting::inbox())).unwrap();
            }
            hosting::run_until_idle();
        });
        let mut sent = Vec::new();
        for (n, remote, inbox) in receive {
            let value = Arc::new(n);
            sent.push(Arc::downgrade(&value));
            remote.fire(value.clone());
            let _ = inbox.post(Box::new(move || drop(value)));
        }
        home.join().unwrap();
        assert!(sent.iter().all(|value| value.strong_count() == 0), "a value is kept somewhere");
    }
}

#[test]
fn what_a_thread_leaves_unread_is_dropped_and_its_panics_reported() {
    let (send, dropped) = mpsc::channel();
    let reports = reports_of_a_thread(move || {
        let inbox = hosting::inbox();
        let (bomb, after) = (Bomb("in a post"), OnDrop::new(move || send.send(()).unwrap()));
        inbox.post(Box::new(move || drop(bomb))).unwrap();
        inbox.post(Box::new(move || drop(after))).unwrap();
    });
    assert_eq!(reports, ["panicked in a destructor or a hook: in a post"]);
    assert_eq!(dropped.iter().count(), 1);
}

#[test]
fn a_value_that_comes_too_late_may_panic_in_its_destructor() {
    let reports = reports_of_a_thread(|| {
        let (trigger, d) = Deferred::<Bomb>::new();
        d.settled().done(drop);
        let remote = trigger.remote();
        thread::spawn(move || remote.fire(Bomb("in a value"))).join().unwrap();
    });
    assert_eq!(reports, ["panicked in a destructor or a hook: in a value"]);
}

#[test]
fn the_triggers_a_thread_leaves_end_in_the_order_they_were_made() {
    let (send, ends) = mpsc::channel();
    let (kept, remotes) = mpsc::channel();
    thread::spawn(move || {
        for n in 0..20 {
            let (trigger, d) = Deferred::<()>::new();
            let send = send.clone();
            d.settled().done(move |_| send.send(n).unwrap());
            kept.send(trigger.remote()).unwrap();
        }
    })
    .join()
    .unwrap();
    assert_eq!(remotes.iter().count(), 20);
    assert_eq!(ends.iter().collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
}

thread_local! {
    static AT_THE_END: RefCell<Option<OnDrop<Box<dyn FnOnce()>>>> = const { RefCell::new(None) };
}

#[test]
fn a_thread_that_is_ending_can_still_make_and_wake_things() {
    let (send, ends) = mpsc::channel();
    thread::spawn(move || {
        // Set first, so that it goes last.
        let at_the_end: Box<dyn FnOnce()> = Box::new(move || {
            let (trigger, d) = Deferred::<()>::new();
            let lost = send.clone();
            d.settled()
                .done(move |outcome| lost.send(matches!(outcome, Outcome::Stop(_))).unwrap());
            let remote = trigger.remote();
            remote.fire(());
            assert_eq!(hosting::inbox().post(Box::new(|| ())), Err(hosting::Closed));
            let mut polls = 0;
            flow(poll_fn(move |task| {
                polls += 1;
                if polls == 1 {
                    let waker = task.waker();
                    thread::scope(|scope| drop(scope.spawn(|| drop(waker.clone()))));
                    waker.wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(Ok::<_, Failure>(()))
            }))
            .report();
            send.send(true).unwrap();
        });
        AT_THE_END.set(Some(OnDrop::new(at_the_end)));
        let (trigger, d) = Deferred::<()>::new();
        d.settled().done(drop);
        drop(trigger.remote());
    })
    .join()
    .unwrap();
    assert_eq!(ends.iter().collect::<Vec<_>>(), [true, true]);
}

#[test]
fn a_post_that_is_refused_is_dropped_by_its_sender() {
    let inbox = thread::spawn(hosting::inbox).join().unwrap();
    let far = inbox.clone();
    let bomb = Bomb("refused");
    let refused = thread::spawn(move || far.post(Box::new(move || drop(bomb)))).join();
    assert_eq!(refused.unwrap_err().downcast_ref::<String>().unwrap(), "refused");
    // Nothing is broken by it.
    assert_eq!(inbox.post(Box::new(|| ())), Err(hosting::Closed));
    assert!(inbox.is_empty());
}

#[test]
fn a_panic_in_what_is_posted_keeps_nothing_else_from_running() {
    checked(|reports| {
        let log = Log::new();
        let (trigger, d) = Deferred::<u8>::new();
        let seen = log.clone();
        d.map(move |n| seen.add(n)).report();
        let (inbox, remote) = (hosting::inbox(), trigger.remote());
        thread::spawn(move || {
            inbox.post(Box::new(|| panic!("posted"))).unwrap();
            let bomb = Bomb("owned by what was posted");
            inbox.post(Box::new(move || drop(bomb))).unwrap();
            remote.fire(1);
        })
        .join()
        .unwrap();
        assert_eq!(hosting::deliver_inbox(9), 3);
        reports.expect(&[
            "panicked in a destructor or a hook: posted",
            "panicked in a destructor or a hook: owned by what was posted",
        ]);
        log.expect(&["1"]);
    });
}
