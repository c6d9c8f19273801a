//! What crosses threads, in every order that threads and their memory may take (DESIGN.md §2).
//!
//! Run it with `RUSTFLAGS="--cfg loom" cargo test -p thence-core --test loom --release`. A model
//! that waits for what never comes fails as a deadlock.

#![cfg(loom)]

#[path = "../src/crossing.rs"]
#[allow(dead_code, reason = "the models use what matters between threads")]
mod crossing;

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use crossing::{FarEnd, Flag, Handle, Mailbox, Woken};
use loom::sync::atomic::{
    AtomicBool, AtomicUsize,
    Ordering::{AcqRel, Relaxed},
};
use loom::sync::{Condvar, Mutex};
use loom::thread::{self, JoinHandle};

/// Counts what the model's own book-keeping counts, and is no point where threads switch.
#[derive(Clone, Default)]
struct Count(Arc<std::sync::atomic::AtomicUsize>);

impl Count {
    fn add(&self, n: isize) -> usize {
        self.0.fetch_add(n.cast_unsigned(), Relaxed)
    }

    fn get(&self) -> usize {
        self.0.load(Relaxed)
    }
}

/// Runs `model` in every order with at most three unforced switches between threads.
fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// Where a reader sleeps: a wake stays until it is slept on. Not `thread::park`: loom lets a parked
/// thread see all that its waker did, at once, which hides what the code itself forgets to hand on.
#[derive(Default)]
struct Driver {
    woken: Mutex<bool>,
    told: Condvar,
    calls: Count,
}

impl Driver {
    fn of<M: 'static>(mailbox: &Mailbox<M>) -> Arc<Self> {
        let driver = Arc::<Self>::default();
        let woken = driver.clone();
        mailbox.set_waker(Some(Arc::new(move || {
            woken.calls.add(1);
            *woken.woken.lock().unwrap() = true;
            woken.told.notify_one();
        })));
        driver
    }

    fn sleep(&self) {
        let mut woken = self.woken.lock().unwrap();
        while !std::mem::take(&mut *woken) {
            woken = self.told.wait(woken).unwrap();
        }
    }
}

/// What a reader has of a mailbox: what it took out is read first.
struct Reader<'a, M> {
    mailbox: &'a Mailbox<M>,
    taken: VecDeque<M>,
}

impl<'a, M> Reader<'a, M> {
    fn of(mailbox: &'a Mailbox<M>) -> Self {
        Self { mailbox, taken: VecDeque::new() }
    }

    /// As the inbox does it.
    fn next(&mut self) -> Option<M> {
        if self.taken.is_empty() && (self.mailbox.is_empty() || !self.mailbox.take(&mut self.taken))
        {
            return None;
        }
        let news = self.taken.pop_front();
        if self.taken.is_empty() {
            self.mailbox.take(&mut self.taken);
        }
        news
    }
}

/// Reads until `each` is done, with a bounded delivery a turn, and no sleep while something waits.
fn read<M>(driver: &Driver, mailbox: &Mailbox<M>, max: usize, mut each: impl FnMut(M) -> bool) {
    let mut reader = Reader::of(mailbox);
    loop {
        for _ in 0..max {
            let Some(news) = reader.next() else { break };
            if each(news) {
                return;
            }
        }
        if mailbox.is_empty() {
            driver.sleep();
        }
    }
}

/// The same as a reactor does it: awake during a turn, parked between turns, and `look`s without
/// the lock before it sleeps. Says how often it parked and found nothing.
fn turn<M>(
    driver: &Driver,
    mailbox: &Mailbox<M>,
    max: usize,
    mut each: impl FnMut(M) -> bool,
) -> usize {
    let mut reader = Reader::of(mailbox);
    let mut parked = 1;
    loop {
        if mailbox.is_empty() {
            driver.sleep();
        }
        mailbox.awake();
        for _ in 0..max {
            let Some(news) = reader.next() else { break };
            if each(news) {
                return parked;
            }
        }
        parked += usize::from(mailbox.park());
    }
}

/// Posts `0..count` as `(sender, n)`, and gives what came back.
fn sender(
    mailbox: &Arc<Mailbox<(usize, usize)>>,
    id: usize,
    count: usize,
) -> JoinHandle<Vec<usize>> {
    let mailbox = mailbox.clone();
    thread::spawn(move || {
        (0..count).filter_map(|n| mailbox.push((id, n)).err().map(|(_, n)| n)).collect()
    })
}

fn join<T>(threads: impl IntoIterator<Item = JoinHandle<T>>) {
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn nothing_posted_is_lost_or_read_twice_and_each_sender_keeps_its_order() {
    for max in [1, usize::MAX] {
        explore(move || {
            let mailbox = Mailbox::new();
            let driver = Driver::of(&mailbox);
            let senders = [0, 1].map(|id| sender(&mailbox, id, 2));
            let mut next = [0, 0];
            read(&driver, &mailbox, max, |(id, n)| {
                assert_eq!(n, next[id]);
                next[id] += 1;
                next == [2, 2]
            });
            for sender in senders {
                assert!(sender.join().unwrap().is_empty());
            }
            assert!(!mailbox.take(&mut VecDeque::new()));
        });
    }
}

#[test]
fn a_reader_that_drains_before_it_sleeps_needs_no_second_look() {
    explore(|| {
        let mailbox = Mailbox::new();
        let driver = Driver::of(&mailbox);
        let senders = [0, 1].map(|id| sender(&mailbox, id, 2));
        let mut reader = Reader::of(&mailbox);
        let mut left = 4;
        while left > 0 {
            while reader.next().is_some() {
                left -= 1;
            }
            if left > 0 {
                driver.sleep();
            }
        }
        join(senders);
    });
}

#[test]
fn a_reactor_that_is_awake_is_not_called_and_one_that_is_parked_misses_nothing() {
    for max in [1, usize::MAX] {
        explore(move || {
            let mailbox = Mailbox::new();
            let driver = Driver::of(&mailbox);
            let senders = [0, 1].map(|id| sender(&mailbox, id, 2));
            let mut next = [0, 0];
            let parked = turn(&driver, &mailbox, max, |(id, n)| {
                assert_eq!(n, next[id]);
                next[id] += 1;
                next == [2, 2]
            });
            // Of all that arrives between two turns one calls, and none during a turn.
            assert!(driver.calls.get() <= parked);
            join(senders);
        });
    }
}

#[test]
fn whoever_parks_is_told_by_it_or_by_the_waker() {
    explore(|| {
        let mailbox = Mailbox::new();
        let driver = Driver::of(&mailbox);
        mailbox.awake();
        let sender = sender(&mailbox, 0, 1);
        let found = !mailbox.park();
        sender.join().unwrap();
        // Not both: a reader that spins does not pay for a call that it needs no more.
        assert_eq!(driver.calls.get(), usize::from(!found));
        assert!(!mailbox.is_empty());
    });
}

#[test]
fn a_nudge_calls_only_whoever_is_parked() {
    explore(|| {
        let mailbox = Mailbox::<u64>::new();
        let driver = Driver::of(&mailbox);
        mailbox.awake();
        mailbox.nudge();
        assert_eq!(driver.calls.get(), 0);
        assert!(mailbox.park());
        mailbox.nudge();
        driver.sleep();
    });
}

#[test]
fn a_waker_that_is_set_or_replaced_while_something_arrives_misses_nothing() {
    explore(|| {
        let mailbox = Mailbox::new();
        let senders = [0, 1].map(|id| sender(&mailbox, id, 1));
        mailbox.set_waker(Some(Arc::new(|| ())));
        let driver = Driver::of(&mailbox);
        let mut left = 2;
        read(&driver, &mailbox, 1, |_| {
            left -= 1;
            left == 0
        });
        join(senders);
    });
}

#[test]
fn what_a_closing_mailbox_does_not_take_comes_back_to_its_sender() {
    explore(|| {
        let mailbox = Mailbox::new();
        let senders = [0, 1].map(|id| sender(&mailbox, id, 2));
        let mut read = VecDeque::new();
        mailbox.take(&mut read);
        let left = mailbox.close();
        let mut seen: Vec<_> = read.into_iter().chain(left).collect();
        for (id, sender) in senders.into_iter().enumerate() {
            let back = sender.join().unwrap();
            // Once closed it stays so: what came back is the end of what was sent.
            assert!(back.iter().copied().eq(2 - back.len()..2));
            seen.extend(back.into_iter().map(|n| (id, n)));
        }
        seen.sort_unstable();
        assert_eq!(seen, [(0, 0), (0, 1), (1, 0), (1, 1)]);
        assert!(mailbox.is_closed() && mailbox.is_empty());
        assert_eq!(mailbox.push((9, 9)), Err((9, 9)));
    });
}

/// A value that counts its drops.
struct Value(Count);

impl Drop for Value {
    fn drop(&mut self) {
        self.0.add(1);
    }
}

#[test]
fn a_remote_trigger_ends_once_fired_or_dropped_whoever_cancels_meanwhile() {
    for fires in [true, false] {
        explore(move || {
            let mailbox = Mailbox::<u64>::new();
            let driver = Driver::of(&mailbox);
            let (far, near) = FarEnd::<Value, u64>::new(mailbox.clone(), |id| id, 7, false);
            let (drops, asker) = (Count::default(), near.asker());
            let value = Value(drops.clone());
            let producer = thread::spawn(move || {
                let was_asked = far.is_asked();
                // A request stands.
                assert!(!was_asked || far.is_asked());
                if fires {
                    far.send(value);
                }
            });
            asker.ask();
            read(&driver, &mailbox, 1, |id| {
                assert_eq!(id, 7);
                true
            });
            assert_eq!(near.take().is_some(), fires);
            assert!(near.take().is_none());
            producer.join().unwrap();
            assert!(mailbox.is_empty());
            assert_eq!(drops.get(), 1);
        });
    }
}

#[test]
fn a_request_carries_what_was_done_before_it() {
    explore(|| {
        let (far, near) = FarEnd::<(), u64>::new(Mailbox::new(), |id| id, 1, false);
        let why = Arc::new(AtomicUsize::new(0));
        let told = why.clone();
        let producer = thread::spawn(move || {
            if far.is_asked() {
                assert_eq!(told.load(Relaxed), 5);
            }
        });
        why.store(5, Relaxed);
        near.asker().ask();
        producer.join().unwrap();
    });
}

#[test]
fn a_value_sent_to_a_closing_mailbox_is_taken_or_dropped_once() {
    explore(|| {
        let mailbox = Mailbox::<u64>::new();
        let (far, near) = FarEnd::<Value, u64>::new(mailbox.clone(), |id| id, 7, false);
        let drops = Count::default();
        let value = Value(drops.clone());
        let producer = thread::spawn(move || far.send(value));
        let mut taken = VecDeque::new();
        let arrived = mailbox.take(&mut taken) || !mailbox.close().is_empty();
        if arrived {
            assert!(near.take().is_some());
        }
        drop(near);
        mailbox.close();
        producer.join().unwrap();
        assert_eq!(drops.get(), 1);
    });
}

/// A flow as its wakers see it.
struct Cell {
    flag: Flag<Cell>,
    driver: Arc<Driver>,
    mailbox: Arc<Mailbox<News>>,
    /// How many words of a wake are on their way.
    words: Count,
    /// Stands for the count of references to the handle, which is std's: loom does not see it.
    references: AtomicUsize,
}

/// A waker whose coming and going loom sees.
struct Lent {
    waker: Waker,
    cell: Arc<Cell>,
}

impl Lent {
    fn by(cell: &Arc<Cell>) -> Self {
        cell.references.fetch_add(1, Relaxed);
        Self { waker: Waker::from(Handle::of(cell)), cell: cell.clone() }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.cell.references.fetch_sub(1, AcqRel);
    }
}

enum News {
    Orphan(Arc<Cell>),
    Wake(Arc<Cell>),
}

impl Cell {
    fn new() -> Arc<Self> {
        let mailbox = Mailbox::new();
        let driver = Driver::of(&mailbox);
        Arc::new(Self {
            flag: Flag::new(),
            driver,
            mailbox,
            words: Count::default(),
            references: AtomicUsize::new(0),
        })
    }

    /// The home thread's part: polls until that is ready, or until no waker is left.
    fn run(&self, mut poll: impl FnMut() -> bool) -> End {
        let mut end = None;
        let mut poll_once = || {
            if poll() {
                end = Some(End::Ready);
            } else if !self.flag.is_live() {
                end = Some(End::Lost);
            }
            end.is_some()
        };
        if !poll_once() {
            read(&self.driver, &self.mailbox, 1, |news| match news {
                News::Wake(cell) => {
                    cell.words.add(-1);
                    cell.flag.lower();
                    poll_once()
                }
                News::Orphan(cell) => !cell.flag.is_live() && poll_once(),
            });
        }
        self.mailbox.close();
        end.expect("it reads until there is one")
    }
}

#[derive(Debug, Eq, PartialEq)]
enum End {
    Lost,
    Ready,
}

impl Woken for Cell {
    fn flag(&self) -> &Flag<Self> {
        &self.flag
    }

    fn wake(self: &Arc<Self>) {
        if self.flag.raise() {
            assert_eq!(self.words.add(1), 0, "it is in the mailbox already");
            let _ = self.mailbox.push(News::Wake(self.clone()));
        }
    }

    fn orphaned(self: &Arc<Self>) {
        let _ = self.mailbox.push(News::Orphan(self.clone()));
    }
}

/// On another thread: makes `fact` true, and then the wake alone has to carry it home.
fn wake(waker: Lent, fact: &Arc<AtomicBool>) -> JoinHandle<()> {
    let fact = fact.clone();
    thread::spawn(move || {
        fact.store(true, Relaxed);
        waker.waker.wake_by_ref();
    })
}

#[test]
fn a_wake_is_never_lost_and_is_in_the_mailbox_once_at_the_most() {
    explore(|| {
        let cell = Cell::new();
        let facts = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
        let kept = Lent::by(&cell);
        let threads = [0, 1].map(|n| wake(Lent::by(&cell), &facts[n]));
        assert_eq!(cell.run(|| facts.iter().all(|fact| fact.load(Relaxed))), End::Ready);
        join(threads);
        drop(kept);
    });
}

#[test]
fn what_is_woken_by_its_last_waker_is_polled_before_it_is_lost() {
    explore(|| {
        let cell = Cell::new();
        let fact = Arc::new(AtomicBool::new(false));
        let thread = wake(Lent::by(&cell), &fact);
        assert_eq!(cell.run(|| fact.load(Relaxed)), End::Ready);
        join([thread]);
    });
}

#[test]
fn the_end_of_the_last_waker_is_always_told() {
    explore(|| {
        let cell = Cell::new();
        let wakers = [(); 2].map(|()| Lent::by(&cell));
        let threads = wakers.map(|waker| thread::spawn(move || drop(waker)));
        assert_eq!(cell.run(|| false), End::Lost);
        join(threads);
    });
}

#[test]
fn a_waker_made_while_the_last_one_goes_counts() {
    explore(|| {
        let cell = Cell::new();
        let old = Lent::by(&cell);
        let leaving = thread::spawn(move || drop(old));
        let new = Lent::by(&cell);
        assert!(cell.flag.is_live());
        let going = thread::spawn(move || drop(new));
        assert_eq!(cell.run(|| false), End::Lost);
        join([leaving, going]);
    });
}
