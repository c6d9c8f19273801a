//! Queues to and from `Stream`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use thence_core::{Deferred, Queue, QueueStream, Rejected, flow, hosting};

use crate::common::{Log, OnDrop, checked, outcome_of};

/// A stream of somebody else's: gives what it is fed, and says what happens to it.
struct Foreign {
    fed: Rc<RefCell<Fed>>,
    _dropped: OnDrop<Box<dyn FnOnce()>>,
}

#[derive(Default)]
struct Fed {
    items: VecDeque<u32>,
    over: bool,
    waker: Option<Waker>,
    taken: u32,
}

#[derive(Clone, Default)]
struct Feed(Rc<RefCell<Fed>>);

impl Feed {
    fn stream(&self, log: &Log) -> Foreign {
        let dropped = Box::new(log.noting("stream dropped")) as Box<dyn FnOnce()>;
        Foreign { fed: self.0.clone(), _dropped: OnDrop::new(dropped) }
    }

    fn feed(&self, items: impl IntoIterator<Item = u32>) {
        self.0.borrow_mut().items.extend(items);
        self.wake();
    }

    fn end(&self) {
        self.0.borrow_mut().over = true;
        self.wake();
    }

    fn wake(&self) {
        let waker = self.0.borrow_mut().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
        hosting::run_until_idle();
    }

    fn taken(&self) -> u32 {
        self.0.borrow().taken
    }
}

impl Stream for Foreign {
    type Item = u32;

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<u32>> {
        let mut fed = self.fed.borrow_mut();
        if let Some(item) = fed.items.pop_front() {
            fed.taken += 1;
            return Poll::Ready(Some(item));
        }
        if fed.over {
            return Poll::Ready(None);
        }
        fed.waker = Some(task.waker().clone());
        Poll::Pending
    }
}

async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    poll_fn(|task| Pin::new(&mut *stream).poll_next(task)).await
}

/// Notes every item, and the end.
fn drain(mut stream: QueueStream<u32>, log: &Log) -> Deferred<()> {
    let log = log.clone();
    flow(async move {
        while let Some(item) = next(&mut stream).await {
            log.add(item);
        }
        log.add("end");
        Ok(())
    })
}

#[test]
fn a_stream_gives_every_item_and_ends_with_the_queue() {
    checked(|_| {
        let queue = Queue::bounded(2);
        let log = Log::new();
        (1..=3).for_each(|n| drop(queue.put(n)));
        drain(queue.stream(), &log).report();
        log.expect(&["1", "2", "3"]);
        queue.put(4).report();
        log.expect(&["4"]);
        queue.close();
        log.expect(&["end"]);
    });
}

#[test]
fn a_stream_that_has_ended_stays_ended() {
    checked(|_| {
        let queue = Queue::<u32>::unbounded();
        let mut stream = queue.stream();
        queue.close();
        let f = flow(async move { Ok((next(&mut stream).await, next(&mut stream).await)) });
        assert_eq!(outcome_of(f).take().unwrap(), "ok (None, None)");
    });
}

#[test]
fn a_stream_gives_what_is_left_when_the_last_handle_is_gone_and_ends() {
    checked(|_| {
        let queue = Queue::bounded(1);
        let log = Log::new();
        let stream = queue.stream();
        (1..=3).for_each(|n| drop(queue.put(n)));
        drop(queue);
        drain(stream, &log).report();
        log.expect(&["1", "2", "3", "end"]);

        // One that waits already.
        let queue = Queue::<u32>::bounded(1);
        drain(queue.stream(), &log).report();
        log.expect(&[]);
        drop(queue);
        log.expect(&["end"]);
    });
}

#[test]
fn with_handles_and_streams_gone_whoever_waits_for_room_has_his_item_back() {
    checked(|_| {
        let queue = Queue::bounded(0);
        let stream = queue.stream();
        let d = queue.put(7);
        drop(queue);
        assert!(!d.is_ready());
        drop(stream);
        let seen = outcome_of(d.inspect_err(|rejected| {
            assert!(matches!(rejected, Rejected::Closed(7)));
        }));
        assert_eq!(seen.take().unwrap(), "err the queue is closed: the item was not taken");
    });
}

#[test]
fn streams_of_one_queue_share_its_items() {
    checked(|_| {
        let queue = Queue::unbounded();
        let log = Log::new();
        let (a, b) = (queue.stream(), queue.stream());
        let first = outcome_of(a.next());
        let second = outcome_of(b.next());
        (1..=3).for_each(|n| queue.put(n).report());
        assert_eq!(first.take().unwrap() + &second.take().unwrap(), "ok 1ok 2");
        drop((queue, b));
        drain(a, &log).report();
        log.expect(&["3", "end"]);
    });
}

#[test]
fn a_stream_that_is_dropped_loses_no_item() {
    checked(|_| {
        for served_first in [false, true] {
            let queue = Queue::unbounded();
            let mut stream = queue.stream();
            let mut task = Context::from_waker(Waker::noop());
            assert!(Pin::new(&mut stream).poll_next(&mut task).is_pending());
            assert_eq!(queue.waiting_getters(), 1);
            if served_first {
                queue.put(1).report();
                queue.put(2).report();
                drop(stream);
            } else {
                drop(stream);
                assert_eq!(queue.waiting_getters(), 0);
                queue.put(1).report();
                queue.put(2).report();
            }
            assert_eq!((queue.try_get(), queue.try_get()), (Some(1), Some(2)));
        }
    });
}

#[test]
fn a_flow_that_is_cut_while_it_drains_a_stream_loses_no_item() {
    checked(|_| {
        let queue = Queue::unbounded();
        let log = Log::new();
        let f = drain(queue.stream(), &log);
        queue.put(1).report();
        f.cancel();
        assert_eq!(outcome_of(f).take().unwrap(), "cancelled");
        queue.put(2).report();
        log.expect(&["1"]);
        assert_eq!((queue.try_get(), queue.waiting_getters()), (Some(2), 0));
    });
}

#[test]
fn a_foreign_stream_fills_a_queue_which_ends_with_it() {
    checked(|_| {
        let (feed, log) = (Feed::default(), Log::new());
        let queue = Queue::from_stream(feed.stream(&log), 4);
        feed.feed([1, 2]);
        assert_eq!((queue.try_get(), queue.try_get(), queue.try_get()), (Some(1), Some(2), None));
        let waiting = outcome_of(queue.get());
        feed.feed([3]);
        assert_eq!(waiting.take().unwrap(), "ok 3");
        feed.feed([4]);
        feed.end();
        log.expect(&["stream dropped"]);
        assert!(queue.is_closed());
        assert_eq!(outcome_of(queue.get()).take().unwrap(), "ok 4");
        assert_eq!(outcome_of(queue.get()).take().unwrap(), "err closed: nothing more comes");
    });
}

#[test]
fn a_foreign_stream_is_read_no_further_than_one_item_beyond_the_bound() {
    checked(|_| {
        for size in [0, 1, 3] {
            let (feed, log) = (Feed::default(), Log::new());
            let queue = Queue::from_stream(feed.stream(&log), size);
            feed.feed(0..10);
            let ahead = u32::try_from(size).unwrap() + 1;
            assert_eq!(feed.taken(), ahead);
            assert_eq!(queue.try_get(), Some(0));
            assert_eq!(feed.taken(), ahead + 1);
            feed.end();
            let rest: Vec<u32> = std::iter::from_fn(|| queue.try_get()).collect();
            assert_eq!(rest, (1..10).collect::<Vec<_>>());
            log.expect(&["stream dropped"]);
        }
    });
}

#[test]
fn dropping_every_handle_ends_the_pump_wherever_it_stands() {
    checked(|_| {
        // While the stream has nothing.
        let (feed, log) = (Feed::default(), Log::new());
        let queue = Queue::from_stream(feed.stream(&log), 1);
        drop(queue.clone());
        log.expect(&[]);
        drop(queue);
        log.expect(&["stream dropped"]);

        // While it waits for room.
        let queue = Queue::from_stream(feed.stream(&log), 1);
        feed.feed(0..10);
        drop(queue);
        log.expect(&["stream dropped"]);
        assert_eq!(hosting::live().flows, 0);

        // While somebody waits for its item: nobody is left who could close the queue.
        let queue = Queue::from_stream(Feed::default().stream(&log), 1);
        let waiting = outcome_of(queue.get());
        drop(queue);
        assert_eq!(waiting.take().unwrap(), "err closed: nothing more comes");
        log.expect(&["stream dropped"]);
    });
}

#[test]
fn a_pump_goes_on_for_a_stream_of_its_queue() {
    checked(|_| {
        let (feed, log) = (Feed::default(), Log::new());
        let stream = Queue::from_stream(feed.stream(&log), 1).stream();
        let f = drain(stream, &log);
        feed.feed([1, 2, 3]);
        log.expect(&["1", "2", "3"]);
        f.cancel();
        f.report();
        log.expect(&["stream dropped"]);
    });
}

#[test]
fn closing_the_queue_ends_the_pump_with_its_next_item() {
    checked(|_| {
        let (feed, log) = (Feed::default(), Log::new());
        let queue = Queue::from_stream(feed.stream(&log), 1);
        queue.close();
        feed.feed([1]);
        log.expect(&["stream dropped"]);
    });
}

#[test]
fn a_foreign_stream_that_panics_is_reported_and_closes_the_queue() {
    checked(|reports| {
        struct Panics;
        impl Stream for Panics {
            type Item = u32;
            fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u32>> {
                panic!("in the stream")
            }
        }
        let queue = Queue::from_stream(Panics, 1);
        reports.expect(&["panicked: in the stream"]);
        assert_eq!(outcome_of(queue.get()).take().unwrap(), "err closed: nothing more comes");
    });
}

#[test]
fn a_foreign_stream_that_nothing_can_wake_is_reported_and_closes_the_queue() {
    checked(|reports| {
        struct Never;
        impl Stream for Never {
            type Item = u32;
            fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u32>> {
                Poll::Pending
            }
        }
        let queue = Queue::from_stream(Never, 1);
        assert_eq!(reports.take().len(), 1);
        assert!(queue.is_closed());
    });
}

#[test]
fn a_queue_is_pumped_into_another() {
    checked(|_| {
        let source = Queue::unbounded();
        let through = Queue::from_stream(source.stream(), 0);
        (0..1000).for_each(|n| source.put(n).report());
        drop(source);
        let log = Log::new();
        drain(through.stream(), &log).report();
        let seen = log.take();
        assert_eq!((seen.len(), seen[999].as_str(), seen[1000].as_str()), (1001, "999", "end"));
    });
}
