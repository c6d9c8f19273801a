//! An open file.

use std::{
    cell::{Cell, RefCell},
    fmt,
    io::{self, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    rc::{Rc, Weak},
    sync::Arc,
};

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use thence_core::{Deferred, Failure, Lock, Outcome, Trigger};

use super::{cannot, front::Front};
use crate::{hub::Hub, offload};

/// An open file, whose reads and writes are Deferreds, on `&self`.
///
/// * What is asked of one file is done one after the other, in the order it was asked, on the
///   pool. Files do not wait for each other.
/// * Left, an operation is done all the same. What a [`read`](File::read) that was left had taken
///   goes back, and the next one has it.
/// * Cancelled before it has started, an operation is not done; once it has, it finishes and its
///   result says so. An `open` that was left or cancelled meanwhile closes what it opened.
/// * Dropped, the file closes after what was asked of it, on the pool, since closing may wait for
///   the disk. Like `std`'s, a close tells no errors: [`sync_all`](File::sync_all) does.
///
/// An error says what could not be done to which path. It is for files on disks: a named pipe or a
/// terminal would keep a thread of the pool waiting.
///
/// ```
/// use thence_reactor::fs::File;
/// # thence_reactor::run(async {
/// # let path = std::env::temp_dir().join(format!("thence-doc-file-{}", std::process::id()));
///
/// let file = File::create(&path).await?;
/// file.write("one\n").await?;
/// file.write("two\n").await?;
/// assert_eq!(file.read_at(4, 100).await?, "two\n");
/// file.sync_all().await?;
/// file.close().await?;
/// # thence_reactor::fs::remove_file(&path).await
/// # }).unwrap();
/// ```
pub struct File(Rc<Inner>);

struct Inner {
    hub: Rc<Hub>,
    path: PathBuf,
    this: Weak<Self>,
    /// None once it is closed. Jobs have clones.
    file: Cell<Option<Arc<std::fs::File>>>,
    /// Whoever has it may have a job on the pool.
    turn: Lock,
    front: RefCell<Front>,
}

/// What an operation does when its turn has come.
enum Work<T> {
    /// Nothing: the result is there.
    Done(T),
    Job(Box<dyn FnOnce(Arc<std::fs::File>) -> io::Result<T> + Send>),
}

impl File {
    /// Opens a file for reading and writing, made or emptied first.
    #[track_caller]
    pub fn create(path: impl AsRef<Path>) -> Deferred<File> {
        let mut options = std::fs::OpenOptions::new();
        Self::open_with(path, options.read(true).write(true).create(true).truncate(true))
    }

    /// Opens a file for reading.
    #[track_caller]
    pub fn open(path: impl AsRef<Path>) -> Deferred<File> {
        Self::open_with(path, std::fs::OpenOptions::new().read(true))
    }

    /// Opens a file as `options` say.
    ///
    /// ```
    /// use std::fs::OpenOptions;
    /// use thence_reactor::fs::File;
    /// # thence_reactor::run(async {
    /// # let path = std::env::temp_dir().join(format!("thence-doc-with-{}", std::process::id()));
    ///
    /// let log = File::open_with(&path, OpenOptions::new().append(true).create(true)).await?;
    /// log.write("started\n").await?;
    /// # thence_reactor::fs::remove_file(&path).await
    /// # }).unwrap();
    /// ```
    #[track_caller]
    pub fn open_with(path: impl AsRef<Path>, options: &std::fs::OpenOptions) -> Deferred<File> {
        let hub = Hub::current("File::open");
        let (path, options) = (path.as_ref().to_path_buf(), options.clone());
        let named = path.clone();
        offload::when_free(&hub.clone(), move || {
            options.open(&named).map_err(|error| cannot("open", &named, error))
        })
        .map(move |file| Self::new(hub, path, file))
    }

    fn new(hub: Rc<Hub>, path: PathBuf, file: std::fs::File) -> Self {
        File(Rc::new_cyclic(|this| Inner {
            hub,
            path,
            this: this.clone(),
            file: Cell::new(Some(Arc::new(file))),
            turn: Lock::new(()),
            front: RefCell::default(),
        }))
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// What comes next, at least one byte and at most `max`; empty at the end of the file.
    #[track_caller]
    pub fn read(&self, max: usize) -> Deferred<Bytes> {
        self.0.in_turn(
            "read",
            move |inner| match inner.front.borrow_mut().take(max) {
                Some((place, bytes)) => Work::Done((Some(place), bytes)),
                None => Work::job(move |file| {
                    let read = |buffer: &mut _| rustix::io::read(&file, spare_capacity(buffer));
                    Ok((None, read_once(max, read)?))
                }),
            },
            Inner::give,
        )
    }

    /// As [`read`](File::read), from `offset` on. It does not move where `read` goes on.
    #[track_caller]
    pub fn read_at(&self, offset: u64, max: usize) -> Deferred<Bytes> {
        self.job("read", move |file| {
            read_once(max, |buffer| rustix::io::pread(&file, spare_capacity(buffer), offset))
        })
    }

    /// Writes all of `bytes` where the last read or write has ended, or at the end of a file that
    /// was opened to append. When it fails, how much of it was written is unknown.
    #[track_caller]
    pub fn write(&self, bytes: impl Into<Bytes>) -> Deferred<()> {
        let bytes = bytes.into();
        self.0.in_turn(
            "write",
            move |inner| {
                let unread = inner.front.borrow_mut().give_up();
                Work::job(move |file| {
                    step_back(&file, unread)?;
                    (&*file).write_all(&bytes)
                })
            },
            Inner::fire,
        )
    }

    /// Writes all of `bytes` at `offset`. It does not move where `write` goes on. When it fails,
    /// how much of it was written is unknown.
    #[track_caller]
    pub fn write_at(&self, offset: u64, bytes: impl Into<Bytes>) -> Deferred<()> {
        let bytes = bytes.into();
        self.job("write", move |file| file.write_all_at(&bytes, offset))
    }

    /// Says where the next read or write begins; gives that as bytes from the start.
    #[track_caller]
    pub fn seek(&self, to: SeekFrom) -> Deferred<u64> {
        self.0.in_turn(
            "seek in",
            move |inner| {
                let unread = inner.front.borrow_mut().give_up();
                Work::job(move |file| {
                    step_back(&file, unread)?;
                    (&*file).seek(to)
                })
            },
            Inner::fire,
        )
    }

    /// Ends when the disk has what was written, and what is known of the file.
    #[doc(alias = "fsync")]
    #[track_caller]
    pub fn sync_all(&self) -> Deferred<()> {
        self.job("sync", |file| file.sync_all())
    }

    /// Ends when the disk has what was written.
    #[doc(alias = "fdatasync")]
    #[track_caller]
    pub fn sync_data(&self) -> Deferred<()> {
        self.job("sync", |file| file.sync_data())
    }

    /// What is known of it.
    #[track_caller]
    pub fn metadata(&self) -> Deferred<std::fs::Metadata> {
        self.job("look at", |file| file.metadata())
    }

    /// Cuts it off after `size` bytes, or fills it up with zeros.
    #[doc(alias = "truncate")]
    #[track_caller]
    pub fn set_len(&self, size: u64) -> Deferred<()> {
        self.job("set the size of", move |file| file.set_len(size))
    }

    /// Ends when what was asked of it has ended and it is closed.
    #[track_caller]
    pub fn close(self) -> Deferred<()> {
        self.0.in_turn(
            "close",
            |inner| {
                inner.file.take();
                Work::job(|file| {
                    drop(file);
                    Ok(())
                })
            },
            Inner::fire,
        )
    }

    #[track_caller]
    fn job<T: Send + 'static>(
        &self,
        what: &'static str,
        f: impl FnOnce(Arc<std::fs::File>) -> io::Result<T> + Send + 'static,
    ) -> Deferred<T> {
        self.0.in_turn(what, |_| Work::job(f), Inner::fire)
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("File").field(&self.0.path).finish()
    }
}

impl<T> Work<T> {
    fn job(f: impl FnOnce(Arc<std::fs::File>) -> io::Result<T> + Send + 'static) -> Self {
        Work::Job(Box::new(f))
    }
}

impl Inner {
    /// Does what `begin` says, after what was asked before, and has `end` give its result out.
    #[track_caller]
    fn in_turn<T: Send + 'static, U: 'static>(
        &self,
        what: &'static str,
        begin: impl FnOnce(&Self) -> Work<T> + 'static,
        end: impl FnOnce(&Self, Trigger<U>, T) + 'static,
    ) -> Deferred<U> {
        let (trigger, deferred) = Deferred::new();
        let this = self.this.upgrade().expect("whoever asks holds it");
        let last = this.clone();
        let ended = self.turn.acquire().map_err(|never| -> Failure { match never {} }).and_then(
            move |guard| {
                let file = this.file.take();
                this.file.set(file.clone());
                let ended = match (begin(&this), file) {
                    (Work::Done(value), _) => Deferred::ok(Ok(value)),
                    (Work::Job(f), Some(file)) => offload::when_free(&this.hub, || Ok(f(file))),
                    (Work::Job(_), None) => Deferred::err(Failure::msg("the file is closed")),
                };
                ended.map(move |result| (guard, result))
            },
        );
        let canceller = ended.canceller();
        trigger.on_cancel(move || canceller.cancel());
        let told = ended.then(move |outcome| {
            match outcome {
                // The next in line comes after this has its result.
                Outcome::Ok((_guard, Ok(value))) => end(&last, trigger, value),
                Outcome::Ok((_, Err(error))) => trigger.fail(cannot(what, &last.path, error)),
                Outcome::Err(failure) => trigger.fail(failure),
                Outcome::Stop(stop) => trigger.settle(Outcome::Stop(stop)),
            }
            Ok::<(), Failure>(())
        });
        drop(told);
        deferred
    }

    fn fire<T>(&self, trigger: Trigger<T>, value: T) {
        trigger.fire(value);
    }

    /// Gives what was read to `trigger`; it comes back when nobody is there. Without a place it was
    /// read just now.
    fn give(&self, trigger: Trigger<Bytes>, (place, bytes): (Option<u64>, Bytes)) {
        let place = place.unwrap_or_else(|| self.front.borrow_mut().place(bytes.len()));
        let this = self.this.clone();
        trigger.on_unclaimed(move |bytes| {
            if let Some(this) = this.upgrade() {
                this.front.borrow_mut().put_back(place, bytes);
            }
        });
        trigger.fire(bytes);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            let closed = offload::when_free(&self.hub, move || {
                drop(file);
                Ok(())
            });
            drop(closed);
        }
    }
}

/// Has `read` fill a buffer once.
fn read_once(
    max: usize,
    read: impl Fn(&mut Vec<u8>) -> rustix::io::Result<usize>,
) -> io::Result<Bytes> {
    let mut buffer = Vec::with_capacity(max.min(READ_MAX));
    rustix::io::retry_on_intr(|| read(&mut buffer))?;
    // A short read must not keep a long buffer.
    buffer.shrink_to_fit();
    Ok(Bytes::from(buffer))
}

/// Goes back to before what was read and is not wanted any more.
fn step_back(mut file: &std::fs::File, unread: u64) -> io::Result<()> {
    match i64::try_from(unread) {
        Ok(0) | Err(_) => Ok(()),
        Ok(unread) => file.seek_relative(-unread),
    }
}

/// The most one read takes.
const READ_MAX: usize = 4 * 1024 * 1024;
