//! Flows (DESIGN.md §3.7).

use std::cell::RefCell;
use std::future::{Future, IntoFuture, pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use thence_core::{Deferred, Failure, Kind, Wait, flow, hosting};

use crate::common::{Cell, Log, OnDrop, checked, outcome_of};

#[test]
fn a_flow_runs_to_its_end_whoever_stops_waiting() {
    checked(|_| {
        let log = Log::new();
        let (a, d) = Deferred::<u8>::new();
        let (b, e) = Deferred::<u8>::new();
        let seen = log.clone();
        drop(flow(async move {
            seen.add(d.await?);
            seen.add(e.await?);
            Ok(())
        }));
        a.fire(1);
        b.fire(2);
        log.expect(&["1", "2"]);
    });
}

#[test]
fn pending_with_nothing_awaited_and_no_waker_is_lost() {
    checked(|reports| {
        let f = flow(async {
            pending::<()>().await;
            Ok(())
        });
        assert_eq!(outcome_of(f).take().unwrap(), "lost");
        flow(async {
            pending::<()>().await;
            Ok(())
        })
        .report();
        reports.expect_kinds(&[Kind::Lost]);
    });
}

/// Gives its waker away and is pending until told.
fn parked(wakers: &Cell<Waker>, ready: &Rc<RefCell<bool>>) -> impl Future<Output = ()> + 'static {
    let (wakers, ready) = (wakers.clone(), ready.clone());
    poll_fn(move |task| {
        if *ready.borrow() {
            return Poll::Ready(());
        }
        wakers.put(task.waker().clone());
        Poll::Pending
    })
}

#[test]
fn it_is_lost_when_its_last_waker_goes() {
    checked(|_| {
        let (wakers, ready) = (Cell::new(), Rc::default());
        let parked = parked(&wakers, &ready);
        let seen = outcome_of(flow(async move {
            parked.await;
            Ok(())
        }));
        assert!(seen.is_empty());
        let waker = wakers.take().unwrap();
        let second = waker.clone();
        drop(waker);
        hosting::run_until_idle();
        assert!(seen.is_empty());
        drop(second);
        hosting::run_until_idle();
        // The poll it gets once more parks it anew.
        assert!(seen.is_empty());
        *ready.borrow_mut() = true;
        wakers.take().unwrap().wake();
        hosting::run_until_idle();
        assert_eq!(seen.take().unwrap(), "ok ()");
    });
}

#[test]
fn a_waker_dropped_on_another_thread_last_loses_it_too() {
    checked(|_| {
        let wakers = Cell::new();
        let kept = wakers.clone();
        let mut polls = 0;
        let seen = outcome_of(flow(poll_fn(move |task| {
            polls += 1;
            if polls == 1 {
                kept.put(task.waker().clone());
            }
            Poll::<Result<(), Failure>>::Pending
        })));
        let waker: Waker = wakers.take().unwrap();
        std::thread::spawn(move || drop(waker)).join().unwrap();
        assert!(seen.is_empty());
        hosting::run_until_idle();
        assert_eq!(seen.take().unwrap(), "lost");
    });
}

#[test]
fn a_waker_may_be_woken_from_any_thread() {
    checked(|_| {
        for by_ref in [false, true] {
            let (wakers, ready) = (Cell::new(), Rc::default());
            let parked = parked(&wakers, &ready);
            let seen = outcome_of(flow(async move {
                parked.await;
                Ok(())
            }));
            *ready.borrow_mut() = true;
            let waker: Waker = wakers.take().unwrap();
            std::thread::spawn(move || if by_ref { waker.wake_by_ref() } else { waker.wake() })
                .join()
                .unwrap();
            assert!(seen.is_empty());
            hosting::deliver_inbox(9);
            assert_eq!(seen.take().unwrap(), "ok ()");
        }
    });
}

#[test]
fn many_threads_may_wake_at_once_and_after_the_end() {
    checked(|_| {
        let ready = Arc::new(AtomicUsize::new(0));
        let wakers = Arc::new(Mutex::new(Vec::new()));
        let (kept, count) = (wakers.clone(), ready.clone());
        let seen = outcome_of(flow(poll_fn(move |task| {
            let mut kept = kept.lock().unwrap();
            kept.resize_with(4, || task.waker().clone());
            if count.load(Ordering::SeqCst) == 4 {
                return Poll::Ready(Ok::<_, Failure>(()));
            }
            Poll::Pending
        })));
        let threads: Vec<_> = std::mem::take(&mut *wakers.lock().unwrap())
            .into_iter()
            .map(|waker| {
                let ready = ready.clone();
                std::thread::spawn(move || {
                    ready.fetch_add(1, Ordering::SeqCst);
                    waker.wake_by_ref();
                    waker
                })
            })
            .collect();
        let old: Vec<Waker> = threads.into_iter().map(|t| t.join().unwrap()).collect();
        hosting::run_until_idle();
        assert_eq!(seen.take().unwrap(), "ok ()");
        old.iter().for_each(Waker::wake_by_ref);
        std::thread::spawn(move || old.into_iter().for_each(Waker::wake)).join().unwrap();
        wakers.lock().unwrap().clear();
        hosting::run_until_idle();
    });
}

#[test]
fn a_waker_woken_during_the_poll_polls_again() {
    checked(|_| {
        for how in 0..4 {
            let mut polls = 0;
            let f = flow(poll_fn(move |task| {
                polls += 1;
                if polls == 3 {
                    return Poll::Ready(Ok(polls));
                }
                match how {
                    0 => task.waker().wake_by_ref(),
                    1 => {
                        let waker = task.waker().clone();
                        waker.wake();
                    }
                    2 => {
                        let waker = task.waker().clone();
                        std::thread::spawn(move || waker.wake()).join().unwrap();
                    }
                    _ => {
                        let waker = task.waker();
                        std::thread::scope(|scope| {
                            scope.spawn(move || waker.wake_by_ref());
                        });
                    }
                }
                Poll::Pending
            }));
            let seen = outcome_of(f);
            hosting::run_until_idle();
            assert_eq!(seen.take().unwrap(), "ok 3", "how {how}");
        }
    });
}

#[test]
fn a_hundred_and_twenty_eight_ready_awaits_yield() {
    checked(|_| {
        let count = Rc::new(std::cell::Cell::new(0));
        let inner = count.clone();
        let hold = hosting::hold();
        flow(async move {
            for _ in 0..300 {
                Deferred::<()>::ok(()).await?;
                inner.set(inner.get() + 1);
            }
            Ok(())
        })
        .report();
        drop(hold);
        for expected in [128, 256, 300] {
            assert_eq!(hosting::run_queue(1), 1);
            assert_eq!(count.get(), expected);
        }
        hosting::run_until_idle();
    });
}

#[test]
fn a_wait_moved_to_another_flow_wakes_that_one() {
    checked(|_| {
        let slot = Cell::<Wait<u8, Failure>>::new();
        let (trigger, d) = Deferred::<u8>::new();
        slot.put(d.into_future());
        let inside = slot.clone();
        let (go, gone) = Deferred::<()>::new();
        // The first flow polls it, and waits for something of its own too.
        let mut gone = gone.into_future();
        let first = flow(poll_fn(move |task| {
            if !inside.is_empty() {
                assert!(inside.with(|wait| Pin::new(wait).poll(task)).is_pending());
            }
            Pin::new(&mut gone).poll(task)
        }));
        let wait = slot.take().unwrap();
        let second = flow(wait);
        trigger.fire(7);
        assert_eq!(outcome_of(second).take().unwrap(), "ok 7");
        go.fire(());
        assert_eq!(outcome_of(first).take().unwrap(), "ok ()");
    });
}

#[test]
fn a_wait_outlives_the_flow_that_polled_it() {
    checked(|_| {
        for fire_first in [false, true] {
            let slot = Cell::<Wait<u8, Failure>>::new();
            let (trigger, d) = Deferred::<u8>::new();
            slot.put(d.into_future());
            let inside = slot.clone();
            let f = flow(poll_fn(move |task| {
                assert!(inside.with(|wait| Pin::new(wait).poll(task)).is_pending());
                Poll::Ready(Ok::<_, Failure>(1))
            }));
            assert_eq!(outcome_of(f).take().unwrap(), "ok 1");
            if fire_first {
                trigger.fire(7);
                assert_eq!(outcome_of(flow(slot.take().unwrap())).take().unwrap(), "ok 7");
            } else {
                let seen = outcome_of(flow(slot.take().unwrap()));
                trigger.fire(7);
                assert_eq!(seen.take().unwrap(), "ok 7");
            }
        }
    });
}

#[test]
fn a_flow_whose_last_wait_is_dropped_elsewhere_is_lost() {
    checked(|reports| {
        for fire_first in [false, true] {
            let slot = Cell::<Wait<u8, Failure>>::new();
            let (trigger, d) = Deferred::<u8>::new();
            slot.put(d.into_future());
            let inside = slot.clone();
            let seen = outcome_of(flow(poll_fn(move |task| {
                if !inside.is_empty() {
                    assert!(inside.with(|wait| Pin::new(wait).poll(task)).is_pending());
                }
                Poll::<Result<(), Failure>>::Pending
            })));
            let wait = slot.take();
            if fire_first {
                trigger.fire(1);
                drop(wait);
            } else {
                drop(wait);
                drop(trigger);
            }
            assert_eq!(seen.take().unwrap(), "lost");
        }
        // The source whose trigger went when nobody waited any more.
        reports.expect_kinds(&[Kind::Lost]);
    });
}

/// A tiny `FuturesUnordered`: each member has a waker of its own, and only those woken are polled.
struct Unordered<F> {
    members: Vec<Option<Pin<Box<F>>>>,
    woken: Arc<Mutex<Vec<usize>>>,
    parent: Arc<Mutex<Option<Waker>>>,
}

struct Member {
    index: usize,
    woken: Arc<Mutex<Vec<usize>>>,
    parent: Arc<Mutex<Option<Waker>>>,
}

impl Wake for Member {
    fn wake(self: Arc<Self>) {
        self.woken.lock().unwrap().push(self.index);
        let parent = self.parent.lock().unwrap().take();
        if let Some(parent) = parent {
            parent.wake();
        }
    }
}

impl<F: Future> Unordered<F> {
    fn new(members: Vec<F>) -> Self {
        let woken = Arc::new(Mutex::new((0..members.len()).collect()));
        let members = members.into_iter().map(|f| Some(Box::pin(f))).collect();
        Self { members, woken, parent: Arc::default() }
    }

    fn poll_next(&mut self, task: &mut Context<'_>) -> Poll<Option<F::Output>> {
        *self.parent.lock().unwrap() = Some(task.waker().clone());
        loop {
            let Some(index) = self.woken.lock().unwrap().pop() else { break };
            let Some(member) = self.members[index].as_mut() else { continue };
            let waker = Waker::from(Arc::new(Member {
                index,
                woken: self.woken.clone(),
                parent: self.parent.clone(),
            }));
            if let Poll::Ready(value) = member.as_mut().poll(&mut Context::from_waker(&waker)) {
                self.members[index] = None;
                return Poll::Ready(Some(value));
            }
        }
        if self.members.iter().all(Option::is_none) { Poll::Ready(None) } else { Poll::Pending }
    }
}

async fn sum(waits: Vec<Wait<u32, Failure>>) -> Result<u32, Failure> {
    let mut unordered = Unordered::new(waits);
    let mut sum = 0;
    while let Some(value) = poll_fn(|task| unordered.poll_next(task)).await {
        sum += value?;
    }
    Ok(sum)
}

#[test]
fn nested_wakers_wake_their_flow() {
    checked(|_| {
        let (triggers, inputs): (Vec<_>, Vec<_>) = (0..20).map(|_| Deferred::<u32>::new()).unzip();
        let waits = inputs.into_iter().map(IntoFuture::into_future).collect();
        let seen = outcome_of(flow(sum(waits)));
        for (n, trigger) in (0..).zip(triggers.into_iter().rev()) {
            trigger.fire(n);
        }
        hosting::run_until_idle();
        assert_eq!(seen.take().unwrap(), "ok 190");
    });
}

#[test]
fn a_stop_and_a_request_reach_through_nested_wakers() {
    checked(|_| {
        for cancel in [false, true] {
            let (mut triggers, inputs): (Vec<_>, Vec<_>) =
                (0..5).map(|_| Deferred::<u32>::new()).unzip();
            let waits = inputs.into_iter().map(IntoFuture::into_future).collect();
            let f = flow(sum(waits));
            if cancel {
                f.cancel();
                assert!(triggers.iter().all(thence_core::Trigger::is_cancelled));
            } else {
                drop(triggers.remove(2));
            }
            hosting::run_until_idle();
            let end = if cancel { "cancelled" } else { "lost" };
            assert_eq!(outcome_of(f).take().unwrap(), end);
            triggers.into_iter().for_each(|trigger| trigger.fire(1));
        }
    });
}

#[test]
fn a_request_ends_a_flow_on_a_foreign_future_there() {
    checked(|_| {
        let log = Log::new();
        let wakers = Cell::new();
        let parked = parked(&wakers, &Rc::default());
        let guard = OnDrop::new(log.noting("dropped"));
        let f = flow(async move {
            let _guard = guard;
            parked.await;
            Ok(())
        });
        f.cancel();
        log.expect(&["dropped"]);
        assert_eq!(outcome_of(f).take().unwrap(), "cancelled");
        wakers.take().unwrap().wake();
    });
}

#[test]
fn a_request_before_its_first_poll_meets_it_at_its_first_await() {
    checked(|_| {
        let log = Log::new();
        let (trigger, d) = Deferred::<u8>::new();
        let seen = log.clone();
        let hold = hosting::hold();
        let f = flow(async move {
            seen.add("began");
            d.await
        });
        f.cancel();
        drop(hold);
        hosting::run_until_idle();
        log.expect(&["began"]);
        assert!(trigger.is_cancelled());
        assert_eq!(outcome_of(f).take().unwrap(), "cancelled");
    });
}

#[test]
fn a_flow_may_cancel_and_drop_itself() {
    checked(|_| {
        let own = Cell::<Deferred<()>>::new();
        let inside = own.clone();
        let (trigger, d) = Deferred::<()>::new();
        let (_never, e) = Deferred::<()>::new();
        let f = flow(async move {
            d.await?;
            let me = inside.take().unwrap();
            me.cancel();
            drop(me);
            e.await
        });
        own.put(f);
        trigger.fire(());
        assert!(own.is_empty());
    });
}

#[test]
fn flows_make_and_end_flows_in_destructors() {
    checked(|_| {
        let log = Log::new();
        let seen = log.clone();
        let (_trigger, d) = Deferred::<u8>::new();
        let guard = OnDrop::new(move || {
            let inner = seen.clone();
            flow(async move {
                inner.add("made in a destructor");
                Ok(())
            })
            .report();
            seen.add("destructor ends");
        });
        let f = flow(async move {
            let _guard = guard;
            d.await
        });
        f.cancel();
        log.expect(&["destructor ends", "made in a destructor"]);
        drop(f);
    });
}

#[test]
fn two_flows_that_await_each_other_are_listed_and_stopped() {
    checked(|reports| {
        let (of_a, of_b) = (Cell::<Deferred<u8>>::new(), Cell::<Deferred<u8>>::new());
        let (go, d) = Deferred::<()>::new();
        let other = of_b.clone();
        let a = flow(async move {
            d.await?;
            other.take().unwrap().await
        });
        let other = of_a.clone();
        let (go_b, e) = Deferred::<()>::new();
        let b = flow(async move {
            e.await?;
            other.take().unwrap().await
        });
        of_a.put(a);
        of_b.put(b);
        go.fire(());
        go_b.fire(());
        assert_eq!(hosting::unfinished().iter().filter(|one| one.is_flow).count(), 2);
        hosting::cancel_unfinished();
        // Each asks the other and nobody else: they are lost to requests, and to everything.
        assert_eq!(hosting::live().flows, 0);
        reports.expect_kinds(&[Kind::Lost]);
    });
}

#[test]
fn an_await_shows_where_it_stands() {
    checked(|_| {
        let (trigger, d) = Deferred::<()>::new();
        let line = line!() + 1;
        let f = flow(async move { d.await });
        let unfinished = hosting::unfinished();
        assert_eq!(unfinished.len(), 1);
        assert!(unfinished[0].is_flow);
        assert_eq!(unfinished[0].site.line(), line);
        trigger.fire(());
        f.report();
    });
}
