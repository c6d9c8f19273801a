//! The queue of jobs and the threads that take from it; nothing here knows what a job is for.
//!
//! One thread gives jobs, others run them. To wake a thread costs more than a short job takes, so
//! one at most is on its way at a time, and it wakes the next if it leaves more behind than it
//! takes: a burst of short jobs wakes one or two, long ones soon have all.

use std::{
    collections::VecDeque,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// A bounded queue of jobs, shared by the threads that run them.
///
/// A job is taken in the order it came. One that has not been taken can be taken back out.
#[derive(Clone)]
pub struct Jobs(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    arrived: Condvar,
    finished: Condvar,
    limit: usize,
    size: usize,
    next: AtomicU64,
    /// The length of the queue, for a look without the lock; as good as full once it is closed.
    waiting: AtomicUsize,
    /// Jobs that may run on the caller's thread without being asked for one by one.
    due: AtomicUsize,
}

struct State {
    /// In the order of their numbers.
    queue: VecDeque<(u64, Job)>,
    running: usize,
    /// Threads that wait for a job and were not called.
    idle: usize,
    /// One of those that wait was called and has not come yet. Any of them may come in its place:
    /// they wake for no reason, too.
    called: bool,
    /// One was started and has not come yet.
    starting: bool,
    threads: usize,
    most_threads: usize,
    closed: bool,
    /// Told each time a job has ended, once somebody wants to know.
    on_finished: Option<Arc<dyn Fn() + Send + Sync>>,
    /// Told, once, when the queue has room again.
    on_room: Option<Box<dyn FnOnce() + Send>>,
}

type Job = Box<dyn FnOnce() + Send>;

/// What has to be done, without the lock, for the jobs that wait.
#[must_use]
enum Help {
    None,
    Start,
    Wake,
}

impl Jobs {
    /// A queue for `limit` jobs that have not started, on at most `threads` threads. They are
    /// started when there is work for them. With none the jobs run when somebody says
    /// [`run_one`](Jobs::run_one).
    pub fn new(limit: usize, threads: usize) -> Self {
        Jobs(Arc::new(Shared {
            state: Mutex::new(State {
                queue: VecDeque::new(),
                running: 0,
                idle: 0,
                called: false,
                starting: false,
                threads: 0,
                most_threads: threads,
                closed: false,
                on_finished: None,
                on_room: None,
            }),
            arrived: Condvar::new(),
            finished: Condvar::new(),
            limit,
            size: threads,
            next: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            due: AtomicUsize::new(0),
        }))
    }

    /// Runs jobs on the caller's thread only, from now on.
    pub(crate) fn without_threads(&self) {
        self.state().most_threads = 0;
    }

    /// For how many threads it was made.
    pub(crate) fn size(&self) -> usize {
        self.0.size
    }

    /// A number for the next job. Jobs start in the order of their numbers.
    pub(crate) fn reserve(&self) -> u64 {
        self.0.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether a job would be taken. Only one thread gives jobs, so it stays true until it does.
    pub(crate) fn has_room(&self) -> bool {
        self.0.waiting.load(Ordering::Acquire) < self.0.limit
    }

    /// Takes a job under a number that was reserved for it; or gives it back when the queue is
    /// full or closed, or no thread can be had.
    pub(crate) fn push(&self, id: u64, job: Job) -> Result<(), Job> {
        let mut state = self.state();
        if state.closed || state.queue.len() >= self.0.limit {
            return Err(job);
        }
        // Nearly always the last: a number may be reserved long before its job is given.
        let place = state.queue.partition_point(|(other, _)| *other < id);
        state.queue.insert(place, (id, job));
        self.note_waiting(&state);
        let help = state.help();
        drop(state);
        if self.send(help) {
            return Ok(());
        }
        match self.state().threads {
            0 => Err(self.remove(id).expect("nobody is there who could have taken it")),
            _ => Ok(()),
        }
    }

    /// Takes back a job that has not started.
    pub(crate) fn remove(&self, id: u64) -> Option<Job> {
        let mut state = self.state();
        let place = state.queue.binary_search_by_key(&id, |(other, _)| *other).ok()?;
        let (_, job) = state.queue.remove(place)?;
        self.note_waiting(&state);
        let on_room = state.on_room.take();
        drop(state);
        if let Some(on_room) = on_room {
            on_room();
        }
        Some(job)
    }

    /// Has `f` called once, from any thread, as soon as a job leaves the queue; at once when it
    /// has room. The last `f` given stands.
    pub(crate) fn when_room(&self, f: impl FnOnce() + Send + 'static) {
        let mut state = self.state();
        if !state.closed && state.queue.len() >= self.0.limit {
            state.on_room = Some(Box::new(f));
            return;
        }
        drop(state);
        f();
    }

    /// Runs the next job on this thread; false when there is none.
    pub fn run_one(&self) -> bool {
        let mut state = self.state();
        let Some((job, on_room)) = self.take(&mut state) else { return false };
        drop(state);
        if let Some(on_room) = on_room {
            on_room();
        }
        let running = Running(self);
        job();
        drop(running);
        true
    }

    /// Lets one more job run in the next [`run_due`](Jobs::run_due); false when none waits.
    pub(crate) fn let_one_run(&self) -> bool {
        let waits = self.waiting() > self.0.due.load(Ordering::Relaxed);
        self.0.due.fetch_add(usize::from(waits), Ordering::Relaxed);
        waits
    }

    /// Runs on this thread what [`let_one_run`](Jobs::let_one_run) let.
    pub(crate) fn run_due(&self) {
        if self.0.due.load(Ordering::Relaxed) == 0 {
            return;
        }
        for _ in 0..self.0.due.swap(0, Ordering::Relaxed) {
            self.run_one();
        }
    }

    /// Has `f` called after each job that ends from now on, on the thread it ran on.
    pub(crate) fn when_finished(&self, f: Arc<dyn Fn() + Send + Sync>) {
        self.state().on_finished = Some(f);
    }

    /// How many jobs have not started.
    pub fn waiting(&self) -> usize {
        self.state().queue.len()
    }

    /// How many jobs have not ended.
    pub fn unfinished(&self) -> usize {
        let state = self.state();
        state.queue.len() + state.running
    }

    /// Takes no more jobs, gives back those that have not started, and waits for those that have,
    /// at most until `deadline`. Returns how many were still running then; their threads are left
    /// to themselves.
    pub(crate) fn close(&self, deadline: Instant) -> (Vec<Job>, usize) {
        let mut state = self.state();
        state.closed = true;
        state.on_room = None;
        let unstarted = std::mem::take(&mut state.queue).into_iter().map(|(_, job)| job).collect();
        self.note_waiting(&state);
        self.0.arrived.notify_all();
        while state.running > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                break;
            }
            (state, _) =
                self.0.finished.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
        (unstarted, state.running)
    }

    /// What each thread does.
    fn work(&self) {
        let mut state = self.state();
        state.starting = false;
        loop {
            if let Some((job, on_room)) = self.take(&mut state) {
                let help = state.help();
                drop(state);
                if let Some(on_room) = on_room {
                    on_room();
                }
                self.send(help);
                // Whoever made the job has its own ways to tell of a panic; what is left of it
                // must not cost the pool a thread.
                let _ = catch_unwind(AssertUnwindSafe(job));
                state = self.end(self.state());
            } else if state.closed {
                state.threads -= 1;
                return;
            } else {
                state.idle += 1;
                state = self.0.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
                if !std::mem::take(&mut state.called) {
                    state.idle -= 1;
                }
            }
        }
    }

    fn take(&self, state: &mut State) -> Option<(Job, Option<Job>)> {
        let (_, job) = state.queue.pop_front()?;
        self.note_waiting(state);
        state.running += 1;
        Some((job, state.on_room.take()))
    }

    /// A job has ended.
    fn end<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.running -= 1;
        if state.closed {
            self.0.finished.notify_all();
        }
        let Some(on_finished) = state.on_finished.clone() else { return state };
        drop(state);
        on_finished();
        self.state()
    }

    /// Brings a thread; false when the operating system has none.
    fn send(&self, help: Help) -> bool {
        match help {
            Help::None => true,
            Help::Wake => {
                self.0.arrived.notify_one();
                true
            }
            Help::Start => {
                let jobs = self.clone();
                let thread = thread::Builder::new().name("thence-offload".into());
                let started = thread.spawn(move || jobs.work()).is_ok();
                if !started {
                    let mut state = self.state();
                    state.threads -= 1;
                    state.starting = false;
                }
                started
            }
        }
    }

    fn note_waiting(&self, state: &State) {
        let waiting = if state.closed { usize::MAX } else { state.queue.len() };
        self.0.waiting.store(waiting, Ordering::Release);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No job runs under the lock, so whatever panicked left it whole.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whom the jobs that wait need: nobody while a thread is coming, or all are busy. Whoever gets
    /// this has to [`send`](Jobs::send) it.
    fn help(&mut self) -> Help {
        if self.queue.is_empty() || self.called || self.starting {
            return Help::None;
        }
        if self.idle > 0 {
            self.idle -= 1;
            self.called = true;
            return Help::Wake;
        }
        if self.threads < self.most_threads {
            self.threads += 1;
            self.starting = true;
            return Help::Start;
        }
        Help::None
    }
}

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Jobs")
            .field("waiting", &state.queue.len())
            .field("running", &state.running)
            .field("threads", &state.threads)
            .finish()
    }
}

/// Counts a job as ended however it ends.
struct Running<'a>(&'a Jobs);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        drop(self.0.end(self.0.state()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    };

    use super::*;

    fn push(jobs: &Jobs, job: impl FnOnce() + Send + 'static) -> Result<u64, Job> {
        let id = jobs.reserve();
        jobs.push(id, Box::new(job)).map(|()| id)
    }

    #[test]
    fn jobs_start_in_order_and_a_full_queue_gives_back() {
        let jobs = Jobs::new(2, 0);
        let (tx, rx) = mpsc::channel();
        for n in 0..2 {
            let tx = tx.clone();
            assert!(push(&jobs, move || tx.send(n).unwrap()).is_ok());
        }
        assert!(push(&jobs, || ()).is_err());
        assert!(jobs.run_one());
        assert!(jobs.run_one());
        assert!(!jobs.run_one());
        assert_eq!(rx.try_iter().collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn a_job_taken_back_never_runs_and_leaves_room() {
        let jobs = Jobs::new(1, 0);
        let room = Arc::new(AtomicUsize::new(0));
        let id = push(&jobs, || panic!("it was taken back")).ok().unwrap();
        let told = room.clone();
        jobs.when_room(move || {
            told.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(room.load(Ordering::Relaxed), 0);
        assert!(jobs.remove(id).is_some());
        assert_eq!(room.load(Ordering::Relaxed), 1);
        assert!(jobs.remove(id).is_none());
        assert!(!jobs.run_one());
        assert!(push(&jobs, || ()).is_ok());
    }

    #[test]
    fn threads_run_everything_and_close_waits_for_them() {
        let jobs = Jobs::new(100, 3);
        let ran = Arc::new(AtomicUsize::new(0));
        let (tx, rx) = mpsc::channel();
        for _ in 0..100 {
            let (ran, tx) = (ran.clone(), tx.clone());
            let job = move || {
                ran.fetch_add(1, Ordering::Relaxed);
                tx.send(()).unwrap();
            };
            assert!(push(&jobs, job).is_ok());
        }
        for _ in 0..100 {
            rx.recv().unwrap();
        }
        let (unstarted, running) = jobs.close(Instant::now() + Duration::from_secs(60));
        assert_eq!((unstarted.len(), running), (0, 0));
        assert_eq!(ran.load(Ordering::Relaxed), 100);
        assert!(push(&jobs, || ()).is_err());
    }

    #[test]
    fn as_many_jobs_run_at_the_same_time_as_there_may_be_threads() {
        let jobs = Jobs::new(100, 3);
        // Each waits for the two others, whether their threads are new or were asleep.
        for _ in 0..50 {
            let met = Arc::new(std::sync::Barrier::new(4));
            for _ in 0..3 {
                let met = met.clone();
                let job = move || {
                    met.wait();
                };
                assert!(push(&jobs, job).is_ok());
            }
            met.wait();
        }
        assert_eq!(jobs.close(Instant::now() + Duration::from_secs(60)).1, 0);
    }

    #[test]
    fn a_panic_costs_no_thread() {
        let jobs = Jobs::new(100, 1);
        let (tx, rx) = mpsc::channel();
        assert!(push(&jobs, || std::panic::resume_unwind(Box::new("on purpose"))).is_ok());
        assert!(push(&jobs, move || tx.send(()).unwrap()).is_ok());
        rx.recv().unwrap();
        assert_eq!(jobs.close(Instant::now() + Duration::from_secs(60)).1, 0);
    }

    #[test]
    fn a_number_that_was_reserved_first_starts_first() {
        let jobs = Jobs::new(3, 0);
        let (tx, rx) = mpsc::channel();
        let ids = [(); 3].map(|()| jobs.reserve());
        for id in [ids[1], ids[2], ids[0]] {
            let tx = tx.clone();
            assert!(jobs.push(id, Box::new(move || tx.send(id).unwrap())).is_ok());
        }
        assert!(jobs.remove(ids[1]).is_some());
        while jobs.run_one() {}
        drop(tx);
        assert_eq!(rx.iter().collect::<Vec<_>>(), [ids[0], ids[2]]);
    }

    #[test]
    fn close_does_not_wait_for_ever() {
        let jobs = Jobs::new(10, 1);
        let (started, is_started) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let job = move || {
            started.send(()).unwrap();
            let _ = released.recv();
        };
        assert!(push(&jobs, job).is_ok());
        is_started.recv().unwrap();
        assert!(push(&jobs, || ()).is_ok());
        let (unstarted, running) = jobs.close(Instant::now());
        assert_eq!((unstarted.len(), running), (1, 1));
        drop(release);
    }
}
