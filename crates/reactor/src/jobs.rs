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

    /// Takes a job, and gives a number by which it can be had back; or gives it back at once when
    /// the queue is full or closed.
    pub(crate) fn push(&self, job: Job) -> Result<u64, Job> {
        let mut state = self.state();
        if state.closed || state.queue.len() >= state.limit {
            return Err(job);
        }
        let id = state.next;
        state.next += 1;
        state.queue.insert(id, job);
        if state.idle > 0 {
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
        Ok(id)
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
        self.0.state().running -= 1;
        self.0.0.finished.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    };

    use super::*;

    #[test]
    fn jobs_start_in_order_and_a_full_queue_gives_back() {
        let jobs = Jobs::new(2, 0);
        let (tx, rx) = mpsc::channel();
        for n in 0..2 {
            let tx = tx.clone();
            assert!(jobs.push(Box::new(move || tx.send(n).unwrap())).is_ok());
        }
        assert!(jobs.push(Box::new(|| ())).is_err());
        assert!(jobs.run_one());
        assert!(jobs.run_one());
        assert!(!jobs.run_one());
        assert_eq!(rx.try_iter().collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn a_job_taken_back_never_runs_and_leaves_room() {
        let jobs = Jobs::new(1, 0);
        let room = Arc::new(AtomicUsize::new(0));
        let id = jobs.push(Box::new(|| panic!("it was taken back"))).ok().unwrap();
        let told = room.clone();
        jobs.when_room(move || {
            told.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(room.load(Ordering::Relaxed), 0);
        assert!(jobs.remove(id).is_some());
        assert_eq!(room.load(Ordering::Relaxed), 1);
        assert!(jobs.remove(id).is_none());
        assert!(!jobs.run_one());
        assert!(jobs.push(Box::new(|| ())).is_ok());
    }

    #[test]
    fn threads_run_everything_and_close_waits_for_them() {
        let jobs = Jobs::new(100, 3);
        let ran = Arc::new(AtomicUsize::new(0));
        let (tx, rx) = mpsc::channel();
        for _ in 0..100 {
            let (ran, tx) = (ran.clone(), tx.clone());
            let job = Box::new(move || {
                ran.fetch_add(1, Ordering::Relaxed);
                tx.send(()).unwrap();
            });
            assert!(jobs.push(job).is_ok());
        }
        for _ in 0..100 {
            rx.recv().unwrap();
        }
        let (unstarted, running) = jobs.close(Instant::now() + Duration::from_secs(60));
        assert_eq!((unstarted.len(), running), (0, 0));
        assert_eq!(ran.load(Ordering::Relaxed), 100);
        assert!(jobs.push(Box::new(|| ())).is_err());
    }

    #[test]
    fn close_does_not_wait_for_ever() {
        let jobs = Jobs::new(10, 1);
        let (started, is_started) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let job = Box::new(move || {
            started.send(()).unwrap();
            let _ = released.recv();
        });
        assert!(jobs.push(job).is_ok());
        is_started.recv().unwrap();
        assert!(jobs.push(Box::new(|| ())).is_ok());
        let (unstarted, running) = jobs.close(Instant::now());
        assert_eq!((unstarted.len(), running), (1, 1));
        drop(release);
    }
}
