//! A child process.

use std::{
    cell::{Cell, RefCell},
    fmt, io,
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    process::{ExitStatus, Output},
    rc::{Rc, Weak},
    thread,
};

use rustix::{
    io::Errno,
    process::{self as sys, Pid, PidfdFlags},
};
use thence_core::{Deferred, Failure, Outcome, Stop, Trigger, flow, join};

use super::Command;
use crate::{
    driver::{Done, Interest, Key, Op, RECV_MAX, Socket, SocketKind},
    hub::{Hub, Sink},
    net::Transport,
    signals::Signal,
};

/// A child process.
///
/// Dropped, it runs on, and is reaped when it ends; see [the module](super) for who ends it.
///
/// ```
/// use thence_reactor::process::{Command, Stdio};
/// # thence_reactor::run(async {
///
/// let mut cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
/// let (stdin, stdout) = (cat.stdin.take().unwrap(), cat.stdout.take().unwrap());
/// stdin.write("meow").await?;
/// assert_eq!(stdout.read_exact(4).await?, "meow");
/// drop(stdin); // the end of its input
/// assert!(cat.wait().await?.success());
/// # Ok(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct Child {
    /// What it reads, if that is a pipe. It ends when this is shut down or dropped.
    pub stdin: Option<Transport>,
    /// What it writes, if that is a pipe.
    pub stdout: Option<Transport>,
    /// What it complains about, if that is a pipe.
    pub stderr: Option<Transport>,
    handle: Handle,
}

impl Child {
    pub(super) fn spawn(hub: &Rc<Hub>, command: &mut Command, program: &str) -> io::Result<Self> {
        // Before there is a child: whether this system and this driver can watch one.
        drop(pidfd(hub, sys::getpid())?);
        let mut child = command.plain().spawn()?;
        let id = child.id();
        let pipes = [
            child.stdin.take().map(OwnedFd::from),
            child.stdout.take().map(OwnedFd::from),
            child.stderr.take().map(OwnedFd::from),
        ];
        let taken_up = pidfd(hub, Pid::from_child(&child)).and_then(|pidfd| {
            let mut streams = [None, None, None];
            for (stream, pipe) in streams.iter_mut().zip(pipes) {
                let Some(pipe) = pipe else { continue };
                let socket = hub.driver.borrow_mut().adopt(pipe, SocketKind::Pipe)?;
                *stream = Some(Transport::new(hub.clone(), socket));
            }
            Ok((pidfd, streams))
        });
        let (pidfd, [stdin, stdout, stderr]) = match taken_up {
            Ok(taken_up) => taken_up,
            Err(error) => {
                // Nobody has waited for it, so that its number is its own.
                let _ = child.kill();
                reap(child);
                return Err(error);
            }
        };
        let process = Rc::new(Process {
            hub: Rc::downgrade(hub),
            name: format!("`{program}` (process {id})"),
            id,
            pidfd,
            kill_on_drop: command.kill_on_drop,
            outlive: command.outlive,
            end: RefCell::new(End::Running(child)),
            waiters: RefCell::default(),
            is_dropped: Cell::new(false),
        });
        process.watch();
        Ok(Child { stdin, stdout, stderr, handle: Handle(process) })
    }

    /// Its number.
    #[doc(alias = "pid")]
    pub fn id(&self) -> u32 {
        self.handle.0.id
    }

    /// Ends when the child has, with its exit status; closes its standard input first, unless that
    /// was taken out, so that a child that reads to the end does end.
    ///
    /// Several may wait. A request to end kills the child, and the wait ends `Stop(Cancelled)` when
    /// it is gone, so that a scope owns a child by owning its wait. One that has ended by itself
    /// before that gives its status. To stop waiting and let it run put a `shield` before the
    /// `timeout`.
    ///
    /// ```
    /// use thence_core::Scope;
    /// use thence_reactor::process::Command;
    /// # thence_reactor::run(async {
    ///
    /// let mut sleep = Command::new("sleep").arg("1000").spawn()?;
    /// Scope::run(|scope| async move {
    ///     scope.add(sleep.wait());
    ///     scope.cancel(); // kills it
    ///     Ok(())
    /// })
    /// .await // and ends when it is gone
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// The Deferred fails when something else in this process has taken the exit status.
    #[track_caller]
    pub fn wait(&mut self) -> Deferred<ExitStatus> {
        self.stdin.take();
        let (trigger, deferred) = Deferred::new();
        self.handle.0.wait(trigger);
        deferred
    }

    /// As [`wait`](Child::wait), with all that it writes until then.
    ///
    /// # Errors
    ///
    /// As [`wait`](Child::wait), and when its output cannot be read.
    #[track_caller]
    pub fn wait_with_output(mut self) -> Deferred<Output> {
        let (stdout, stderr) = (self.stdout.take(), self.stderr.take());
        join((read_all(stdout), read_all(stderr), self.wait()))
            .map(|(stdout, stderr, status)| Output { status, stdout, stderr })
    }

    /// How it has ended, if it has.
    pub fn try_wait(&self) -> Option<ExitStatus> {
        match &*self.handle.0.end.borrow() {
            End::Exited(status) => Some(*status),
            End::Running(_) | End::Lost(_) => None,
        }
    }

    /// Kills it (SIGKILL). Does nothing when it has ended.
    ///
    /// # Errors
    ///
    /// When that is not allowed.
    pub fn kill(&self) -> io::Result<()> {
        self.handle.0.send(sys::Signal::KILL)
    }

    /// Sends it a signal. Does nothing when it has ended.
    ///
    /// # Errors
    ///
    /// When that is not allowed.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let number = signal.number();
        match sys::Signal::from_named_raw(number) {
            Some(signal) => self.handle.0.send(signal),
            None => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("no signal {number}"))),
        }
    }
}

/// The child's, as opposed to a wait's.
#[derive(Debug)]
struct Handle(Rc<Process>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.is_dropped.set(true);
        self.0.let_go();
    }
}

/// A process that the driver watches until it has ended; that keeps it alive, whoever waits.
struct Process {
    hub: Weak<Hub>,
    /// For people.
    name: String,
    id: u32,
    pidfd: Socket,
    kill_on_drop: bool,
    outlive: bool,
    end: RefCell<End>,
    waiters: RefCell<Vec<Trigger<ExitStatus>>>,
    is_dropped: Cell<bool>,
}

/// `Running` becomes `Exited` when it was reaped here, and `Lost` when that was not to be.
enum End {
    Running(std::process::Child),
    Exited(ExitStatus),
    /// And why.
    Lost(String),
}

impl Process {
    fn watch(self: &Rc<Self>) {
        let op = Op::Poll { socket: self.pidfd.clone(), interest: Interest::Read };
        let Some(hub) = self.hub.upgrade() else { return };
        if let Err(error) = hub.submit(op, self.clone()) {
            self.lose(&error);
        }
    }

    fn wait(self: &Rc<Self>, trigger: Trigger<ExitStatus>) {
        let known = match &*self.end.borrow() {
            End::Running(_) => None,
            End::Exited(status) => Some(Outcome::Ok(*status)),
            End::Lost(why) => Some(Outcome::Err(Failure::msg(why))),
        };
        if let Some(outcome) = known {
            trigger.settle(outcome);
            return;
        }
        let (cancelled, left) = (Rc::downgrade(self), Rc::downgrade(self));
        trigger
            .on_cancel(move || cancelled.upgrade().into_iter().for_each(|process| process.kill()));
        trigger.on_left(move || left.upgrade().into_iter().for_each(|process| process.let_go()));
        let mut waiters = self.waiters.borrow_mut();
        // Whoever waits again and again with a time limit must not pile up.
        let left: Vec<_> = waiters.extract_if(.., |waiter| !waiter.is_wanted()).collect();
        waiters.push(trigger);
        drop(waiters);
        stop(left);
    }

    /// The child was dropped, or a wait was left.
    fn let_go(&self) {
        let is_unwanted = || self.waiters.borrow().iter().all(|waiter| !waiter.is_wanted());
        if self.kill_on_drop && self.is_dropped.get() && is_unwanted() {
            self.kill();
        }
    }

    fn kill(&self) {
        if let Err(error) = self.send(sys::Signal::KILL) {
            tracing::error!("{} cannot be killed: {error}", self.name);
        }
    }

    fn send(&self, signal: sys::Signal) -> io::Result<()> {
        let Some(fd) = self.pidfd.as_fd() else { return Ok(()) };
        match sys::pidfd_send_signal(fd, signal) {
            // It has ended.
            Err(Errno::SRCH) => Ok(()),
            sent => Ok(sent?),
        }
    }

    /// Tells whoever waits, once it was reaped.
    fn exited(&self, status: ExitStatus) {
        self.end.replace(End::Exited(status));
        let was_killed = status.signal() == Some(sys::Signal::KILL.as_raw());
        for trigger in self.waiters.take() {
            if was_killed && trigger.is_cancelled() {
                trigger.settle(Outcome::Stop(Stop::Cancelled));
            } else {
                trigger.fire(status);
            }
        }
    }

    /// Nobody will know how it ended.
    fn lose(&self, error: &io::Error) {
        let why = format!("the exit status of {} is not known: {error}", self.name);
        if let End::Running(child) = self.end.replace(End::Lost(why.clone())) {
            reap(child);
        }
        for trigger in self.waiters.take() {
            trigger.fail(Failure::msg(&why));
        }
    }
}

impl Sink for Process {
    fn completed(self: Rc<Self>, _: Key, result: io::Result<Done>) {
        let reaped = match (&mut *self.end.borrow_mut(), result) {
            (End::Running(child), Ok(_)) => child.try_wait(),
            (_, Ok(_)) => return,
            (_, Err(error)) => Err(error),
        };
        match reaped {
            Ok(Some(status)) => self.exited(status),
            Ok(None) => self.watch(),
            Err(error) => self.lose(&error),
        }
    }

    fn abandoned(&self) {
        let name = &self.name;
        let why = format!("the exit status of {name} is not known: its reactor has ended");
        if let End::Running(child) = self.end.replace(End::Lost(why)) {
            if self.outlive {
                tracing::info!("{name} outlives the reactor");
            } else {
                tracing::warn!("{name} still runs at the reactor's end: killed");
                self.kill();
            }
            reap(child);
        }
        stop(self.waiters.take());
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// What becomes readable when `pid` ends.
fn pidfd(hub: &Hub, pid: Pid) -> io::Result<Socket> {
    let pidfd = sys::pidfd_open(pid, PidfdFlags::empty()).map_err(|error| match error {
        Errno::NOSYS | Errno::PERM => io::Error::new(
            io::ErrorKind::Unsupported,
            format!("child processes are watched by pidfd_open (Linux 5.3), refused here: {error}"),
        ),
        error => error.into(),
    })?;
    hub.driver.borrow_mut().adopt(pidfd, SocketKind::Other)
}

/// Waits for a child that nobody watches, on a thread, so that it is no zombie when it ends.
fn reap(mut child: std::process::Child) {
    // An error says that somebody else has reaped it.
    if !matches!(child.try_wait(), Ok(None)) {
        return;
    }
    let id = child.id();
    let thread = thread::Builder::new().name("thence-reap".into());
    if let Err(error) = thread.spawn(move || child.wait()) {
        tracing::error!("no thread for process {id}, a zombie when it ends: {error}");
    }
}

#[track_caller]
fn read_all(stream: Option<Transport>) -> Deferred<Vec<u8>> {
    let Some(stream) = stream else { return Deferred::ok(Vec::new()) };
    flow(async move {
        let mut all = Vec::new();
        loop {
            let bytes = stream.read(RECV_MAX).await?;
            if bytes.is_empty() {
                return Ok(all);
            }
            all.extend_from_slice(&bytes);
        }
    })
}

fn stop(waiters: Vec<Trigger<ExitStatus>>) {
    for trigger in waiters {
        trigger.settle(Outcome::Stop(Stop::Cancelled));
    }
}
