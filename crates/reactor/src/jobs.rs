//! The queue of jobs and the threads that take from it; nothing here knows what a job is for.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
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
}

struct State {
    queue: BTreeMap<u64, Job>,
    next: u64,
    limit: usize,
    running: usize,
    /// Threads that wait for a job.
    idle: usize,
    threads: usize,
    most_threads: usize,
    closed: bool,
    /// Jobs that may run on the caller's thread without being asked for one by one.
    due: usize,
    /// Told each time a job has ended, once somebody wants to know.
    on_finished: Option<Arc<dyn Fn() + Send + Sync>>,
    /// Told, once, when the queue has room again.
    on_room: Option<Box<dyn FnOnce() + Send>>,
}

type Job = Box<dyn FnOnce() + Send>;

impl Jobs {
    /// A queue for `limit` jobs that have not started, on at most `threads` threads. They are
    /// started when there is work for them. With none the jobs run when somebody says
    /// [`run_one`](Jobs::run_one).
    pub fn new(limit: usize, threads: usize) -> Self {
        Jobs(Arc::new(Shared {
            state: Mutex::new(State {
                queue: BTreeMap::new(),
                next: 0,
                limit,
                running: 0,
                idle: 0,
                threads: 0,
                most_threads: threads,
                closed: false,
                due: 0,
                on_finished: None,
                on_room: None,
            }),
            arrived: Condvar::new(),
            finished: Condvar::new(),
        }))
    }

    /// Runs jobs on the caller's thread only, from now on.
    pub(crate) fn without_threads(&self) {
        self.state().most_threads = 0;
    }

    /// A number for the next job. Jobs start in the order of their numbers.
    pub(crate) fn reserve(&self) -> u64 {
        let mut state = self.state();
        state.next += 1;
        state.next - 1
    }

    /// Whether a job would be taken. Only one thread gives jobs, so it stays true until it does.
    pub(crate) fn has_room(&self) -> bool {
        let state = self.state();
        !state.closed && state.queue.len() < state.limit
    }

    /// Takes a job under a number that was reserved for it; or gives it back when the queue is
    /// full or closed, or no thread can be had.
    pub(crate) fn push(&self, id: u64, job: Job) -> Result<(), Job> {
        let mut state = self.state();
        if state.closed || state.queue.len() >= state.limit {
            return Err(job);
        }
        state.queue.insert(id, job);
        if state.idle > 0 {
            // Not under the lock, for which the thread would only wait again.
            drop(state);
            self.0.arrived.notify_one();
        } else if state.threads < state.most_threads {
            state.threads += 1;
            let jobs = self.clone();
            let started = thread::Builder::new()
                .name("thence-offload".into())
                .spawn(move || jobs.work())
                .is_ok();
            if !started {
                state.threads -= 1;
                if state.threads == 0 {
                    return Err(state.queue.remove(&id).expect("it was put there just now"));
                }
            }
        }
        Ok(())
    }

    /// Takes back a job that has not started.
    pub(crate) fn remove(&self, id: u64) -> Option<Job> {
        let mut state = self.state();
        let job = state.queue.remove(&id)?;
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
        if !state.closed && state.queue.len() >= state.limit {
            state.on_room = Some(Box::new(f));
            return;
        }
        drop(state);
        f();
    }

    /// Runs the next job on this thread; false when there is none.
    pub fn run_one(&self) -> bool {
        let Some((job, on_room)) = self.state().take() else { return false };
        self.run(job, on_room);
        true
    }

    /// Lets one more job run in the next [`run_due`](Jobs::run_due); false when none waits.
    pub(crate) fn let_one_run(&self) -> bool {
        let mut state = self.state();
        let waits = state.queue.len() > state.due;
        state.due += usize::from(waits);
        waits
    }

    /// Runs on this thread what [`let_one_run`](Jobs::let_one_run) let.
    pub(crate) fn run_due(&self) {
        let due = std::mem::take(&mut self.state().due);
        for _ in 0..due {
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
        let unstarted = std::mem::take(&mut state.queue).into_values().collect();
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
        loop {
            if let Some((job, on_room)) = state.take() {
                drop(state);
                self.run(job, on_room);
                state = self.state();
            } else if state.closed {
                state.threads -= 1;
                return;
            } else {
                state.idle += 1;
                state = self.0.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
    }

    fn run(&self, job: Job, on_room: Option<Job>) {
        if let Some(on_room) = on_room {
            on_room();
        }
        let running = Running(self);
        job();
        drop(running);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No job runs under the lock, so whatever panicked left it whole.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self) -> Option<(Job, Option<Job>)> {
        let (_, job) = self.queue.pop_first()?;
        self.running += 1;
        Some((job, self.on_room.take()))
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
        let mut state = self.0.state();
        state.running -= 1;
        let on_finished = state.on_finished.clone();
        let is_awaited = state.closed;
        drop(state);
        // It is a system call even when nobody waits.
        if is_awaited {
            self.0.0.finished.notify_all();
        }
        if let Some(on_finished) = on_finished {
            on_finished();
        }
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
