//! The log's way out: a queue with a bound and a thread that writes.
//!
//! Whoever logs never waits and never fails, whatever becomes of the log: a reader that is gone or
//! slow, or a full disk, costs lines. Lines that were not written whole are counted, and once there
//! is room again a line says how many: those written and those said to be lost are all there were.

use std::{
    fmt,
    io::{self, Write},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tracing_subscriber::fmt::MakeWriter;

/// Where lines are written, by a thread of its own: it may block and it may fail.
pub type Sink = Box<dyn Write + Send>;

/// How a [`LogWriter`] works.
pub struct Options {
    /// Bytes that may wait for the thread; a line that does not fit any more is lost.
    pub capacity: usize,
    /// The shortest time between two lines that tell of lost ones.
    pub notice_every: Duration,
    /// The line that says how many were lost, with its newline.
    pub notice: fn(u64) -> String,
    /// Opens the sink anew, for [`LogWriter::reopen`].
    pub open: Option<Box<dyn Fn() -> io::Result<Sink> + Send>>,
}

/// A handle to the queue. What is written to it in one go is one line, or several that belong
/// together; its newline is its own.
#[derive(Clone)]
pub struct LogWriter(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    /// The thread has something to do.
    arrived: Condvar,
    /// The thread has ended.
    ended: Condvar,
    /// Lines lost since the start, for the metric.
    lost: AtomicU64,
    capacity: usize,
}

#[derive(Default)]
struct Queue {
    lines: Lines,
    /// Lost lines that no line has told of yet.
    unsaid: u64,
    reopen: bool,
    closing: bool,
    /// No line is taken any more.
    closed: bool,
    ended: bool,
}

/// Lines in one piece, so that many of them are one system call.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl LogWriter {
    /// Starts the thread that writes to `sink`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(sink: Sink, options: Options) -> io::Result<Self> {
        let Options { capacity, notice_every, notice, open } = options;
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            arrived: Condvar::new(),
            ended: Condvar::new(),
            lost: AtomicU64::new(0),
            capacity,
        });
        let worker = Worker {
            shared: shared.clone(),
            sink,
            open,
            notice,
            notice_every,
            is_cut: false,
            said: None,
        };
        thread::Builder::new().name("log".into()).spawn(move || worker.run())?;
        Ok(Self(shared))
    }

    /// Opens the sink anew: whoever renamed the file finds the next lines in a new one. What comes
    /// of it is logged; if it fails the old sink stays.
    pub fn reopen(&self) {
        self.0.queue().reopen = true;
        self.0.arrived.notify_one();
    }

    /// Lines lost so far.
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }

    /// Has what waits written, and waits for that no longer than `patience`. Says whether it was in
    /// time. Lines that come later are lost.
    pub fn close(&self, patience: Duration) -> bool {
        let mut queue = self.0.queue();
        queue.closing = true;
        self.0.arrived.notify_one();
        let waited = self.0.ended.wait_timeout_while(queue, patience, |queue| !queue.ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.ended
    }

    fn push(&self, line: &[u8]) {
        let mut queue = self.0.queue();
        if queue.closed || queue.lines.bytes.len() + line.len() > self.0.capacity {
            queue.unsaid += 1;
            self.0.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.lines.push(line);
        let is_first = queue.lines.ends.len() == 1;
        drop(queue);
        // Behind the first the thread has been called already.
        if is_first {
            self.0.arrived.notify_one();
        }
    }
}

impl Write for &LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = &'a LogWriter;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogWriter").field("lost", &self.lost()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

impl Shared {
    /// No panic leaves the queue in the middle of anything.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn push(&mut self, line: &[u8]) {
        self.bytes.extend_from_slice(line);
        self.ends.push(self.bytes.len());
    }

    /// How many are whole in the first `written` bytes. Of one that lacks its newline nothing is
    /// lost.
    fn whole(&self, written: usize) -> usize {
        self.ends.partition_point(|end| *end <= written + 1)
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        // A burst is no reason to keep its room.
        self.bytes.shrink_to(KEPT);
        self.ends.shrink_to(KEPT / 64);
    }
}

struct Worker {
    shared: Arc<Shared>,
    sink: Sink,
    open: Option<Box<dyn Fn() -> io::Result<Sink> + Send>>,
    notice: fn(u64) -> String,
    notice_every: Duration,
    /// The last line ends in its middle: the next must not be glued to it.
    is_cut: bool,
    /// When a line told of lost ones, or tried to.
    said: Option<Instant>,
}

impl Worker {
    fn run(mut self) {
        let mut batch = Lines::default();
        loop {
            let (reopen, closing) = self.wait(&mut batch);
            if reopen {
                self.reopen();
            }
            self.say_lost(closing && batch.ends.is_empty());
            let whole = self.write(&batch);
            self.lose(batch.ends.len() - whole);
            let is_over = closing && batch.ends.is_empty();
            batch.clear();
            if is_over {
                break;
            }
        }
        self.shared.queue().ended = true;
        self.shared.ended.notify_all();
    }

    /// Waits for something to do and takes the lines that wait.
    fn wait(&mut self, batch: &mut Lines) -> (bool, bool) {
        let mut queue = self.shared.queue();
        loop {
            let due = (queue.unsaid > 0).then(|| self.until_notice());
            let is_due = due.is_some_and(|due| due.is_zero());
            if !queue.lines.ends.is_empty() && !queue.reopen && !queue.closing {
                // A thread that is woken for each line costs whoever logs more than the line. Who
                // closes or reopens does not wait for this.
                let waited = self.shared.arrived.wait_timeout(queue, COLLECTED);
                queue = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            if !queue.lines.ends.is_empty() || queue.reopen || queue.closing || is_due {
                std::mem::swap(&mut queue.lines, batch);
                // Under the lock: a line that comes later is counted as lost.
                queue.closed = queue.closing && batch.ends.is_empty();
                return (std::mem::take(&mut queue.reopen), queue.closing);
            }
            queue = match due {
                None => self.shared.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner),
                Some(due) => {
                    let waited = self.shared.arrived.wait_timeout(queue, due);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn until_notice(&self) -> Duration {
        let since = self.said.map_or(Duration::MAX, |said| said.elapsed());
        self.notice_every.saturating_sub(since)
    }

    fn say_lost(&mut self, is_last: bool) {
        let lost = self.shared.queue().unsaid;
        if lost == 0 || !(is_last || self.until_notice().is_zero()) {
            return;
        }
        self.said = Some(Instant::now());
        let mut notice = Lines::default();
        notice.push((self.notice)(lost).as_bytes());
        if self.write(&notice) == 1 {
            self.shared.queue().unsaid -= lost;
        }
    }

    fn lose(&self, lines: usize) {
        if lines > 0 {
            self.shared.queue().unsaid += lines as u64;
            self.shared.lost.fetch_add(lines as u64, Ordering::Relaxed);
        }
    }

    /// Says how many were written whole.
    fn write(&mut self, lines: &Lines) -> usize {
        if lines.ends.is_empty() || (self.is_cut && self.put(b"\n") == 0) {
            return 0;
        }
        let written = self.put(&lines.bytes);
        let whole = lines.whole(written);
        let end = whole.checked_sub(1).map_or(0, |last| lines.ends[last]);
        self.is_cut = written != end;
        whole
    }

    /// Writes as far as it goes.
    fn put(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() {
            match self.sink.write(&bytes[written..]) {
                Ok(0) => break,
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Somebody made the descriptor non-blocking, which holds for all who share it.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(PAUSE),
                Err(_) => break,
            }
        }
        written
    }

    fn reopen(&mut self) {
        let Some(open) = &self.open else { return };
        match open() {
            Ok(sink) => {
                self.sink = sink;
                self.is_cut = false;
                tracing::info!("the log file is opened anew");
            }
            Err(error) => {
                tracing::error!("the log file cannot be opened, the old one stays: {error}")
            }
        }
    }
}

/// Room that is kept for the next lines.
const KEPT: usize = 64 * 1024;
/// So long lines wait for others to be written with.
const COLLECTED: Duration = Duration::from_millis(5);
const PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests;
