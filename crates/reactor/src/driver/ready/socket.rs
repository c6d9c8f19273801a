//! A descriptor of the operating system.

use std::{
    cell::RefCell,
    fmt,
    io::{self, ErrorKind, IoSlice, Read, Write},
    net::{Shutdown, SocketAddr},
    os::fd::{AsRawFd, RawFd},
    rc::Rc,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool, atomic::Ordering},
};

use mio::net::{TcpListener, TcpStream, UnixStream};
use signal_hook::{SigId, flag, low_level};

use super::{Buffers, Key};

/// A descriptor, and the driver's entry for it.
pub(in crate::driver) struct OsSocket {
    io: Io,
    source: Key,
    retired: Retired,
}

pub(super) enum Io {
    Listener(TcpListener),
    /// Of an operation that never had a descriptor.
    None,
    Signal {
        stream: UnixStream,
        id: SigId,
        signal: i32,
    },
    Stream(TcpStream),
}

/// Sources whose socket is gone, for the driver to forget. The socket cannot tell it directly: its
/// last clone may be dropped while the driver is at work.
#[derive(Clone, Default)]
pub(super) struct Retired(Rc<RefCell<Vec<Key>>>);

impl OsSocket {
    pub(super) fn new(io: Io, source: Key, retired: Retired) -> Self {
        OsSocket { io, source, retired }
    }

    pub(super) fn io(&self) -> &Io {
        &self.io
    }

    pub(super) fn source(&self) -> Key {
        self.source
    }

    pub(super) fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let Io::Listener(listener) = &self.io else { return Err(ErrorKind::InvalidInput.into()) };
        loop {
            match listener.accept() {
                Ok((stream, addr)) => {
                    // Fails when the connection is gone by now, which its first receive will say.
                    let _ = stream.set_nodelay(true);
                    return Ok((stream, addr));
                }
                // accept(2): what is already wrong with that connection is no fault of the
                // listener, and the next one is behind it.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::ConnectionAborted
                            | ErrorKind::ConnectionReset
                            | ErrorKind::Interrupted
                    ) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether a connection under way is there now.
    pub(super) fn connected(&self) -> io::Result<bool> {
        let Io::Stream(stream) = &self.io else { return Err(ErrorKind::InvalidInput.into()) };
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        match stream.peer_addr() {
            Ok(_) => {
                let _ = stream.set_nodelay(true);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let result = match &self.io {
                Io::Listener(_) | Io::None => return Err(ErrorKind::InvalidInput.into()),
                Io::Signal { stream, .. } => (&*stream).read(buffer),
                Io::Stream(stream) => (&*stream).read(buffer),
            };
            match result {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// Sends from the front of `buffers` and takes what was sent off them.
    pub(super) fn send(&self, buffers: &mut Buffers) -> io::Result<usize> {
        let Io::Stream(stream) = &self.io else { return Err(ErrorKind::InvalidInput.into()) };
        loop {
            let result = if buffers.is_one_piece() {
                (&*stream).write(buffers.first())
            } else {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let used = buffers.fill(&mut slices);
                (&*stream).write_vectored(&slices[..used])
            };
            match result {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => {
                    buffers.advance(n);
                    return Ok(n);
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub(in crate::driver) fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.io {
            Io::Listener(listener) => listener.local_addr(),
            Io::None | Io::Signal { .. } => Err(ErrorKind::InvalidInput.into()),
            Io::Stream(stream) => stream.local_addr(),
        }
    }

    pub(in crate::driver) fn peer_addr(&self) -> io::Result<SocketAddr> {
        match &self.io {
            Io::Stream(stream) => stream.peer_addr(),
            _ => Err(ErrorKind::NotConnected.into()),
        }
    }

    pub(in crate::driver) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match &self.io {
            Io::Stream(stream) => stream.shutdown(how),
            _ => Err(ErrorKind::NotConnected.into()),
        }
    }

    pub(in crate::driver) fn set_nodelay(&self, on: bool) -> io::Result<()> {
        match &self.io {
            Io::Stream(stream) => stream.set_nodelay(on),
            _ => Err(ErrorKind::InvalidInput.into()),
        }
    }
}

impl AsRawFd for OsSocket {
    fn as_raw_fd(&self) -> RawFd {
        match &self.io {
            Io::Listener(listener) => listener.as_raw_fd(),
            Io::None => -1,
            Io::Signal { stream, .. } => stream.as_raw_fd(),
            Io::Stream(stream) => stream.as_raw_fd(),
        }
    }
}

impl Drop for OsSocket {
    fn drop(&mut self) {
        // The descriptor closes after this, and with it goes its registration: nobody duplicates
        // it. What an unlikely duplicate would still report finds no source.
        self.retired.0.borrow_mut().push(self.source);
        if let Io::Signal { id, signal, .. } = &self.io {
            low_level::unregister(*id);
            Watched::end(*signal);
        }
    }
}

impl fmt::Debug for OsSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.io {
            Io::Listener(listener) => listener.fmt(f),
            Io::None => f.write_str("no socket"),
            Io::Signal { signal, .. } => write!(f, "signal {signal}"),
            Io::Stream(stream) => stream.fmt(f),
        }
    }
}

impl Io {
    pub(super) fn listen(addr: SocketAddr) -> io::Result<Self> {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(addr),
            socket2::Type::STREAM,
            Some(socket2::Protocol::TCP),
        )?;
        // A server that is started again must not wait for the last one's connections to time out.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        Ok(Io::Listener(TcpListener::from_std(socket.into())))
    }

    pub(super) fn signal(signal: i32) -> io::Result<Self> {
        let (stream, handler) = UnixStream::pair()?;
        Watched::begin(signal)?;
        match low_level::pipe::register(signal, std::os::fd::OwnedFd::from(handler)) {
            Ok(id) => Ok(Io::Signal { stream, id, signal }),
            Err(error) => {
                Watched::end(signal);
                Err(error)
            }
        }
    }
}

impl Retired {
    pub(super) fn take(&self) -> Vec<Key> {
        self.0.take()
    }
}

/// A signal that somebody in this process waits for, or did.
///
/// Once a handler is installed it stays: signal-hook cannot give a signal its default action back,
/// so after the last reactor nothing would end the program on Ctrl-C. Hence one entry for each
/// signal that does the default while nobody watches.
struct Watched {
    signal: i32,
    watchers: usize,
    unwatched: Arc<AtomicBool>,
}

impl Watched {
    fn begin(signal: i32) -> io::Result<()> {
        let mut all = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watched) = all.iter_mut().find(|watched| watched.signal == signal) {
            watched.watchers += 1;
            watched.unwatched.store(false, Ordering::SeqCst);
            return Ok(());
        }
        let unwatched = Arc::new(AtomicBool::new(false));
        flag::register_conditional_default(signal, unwatched.clone())?;
        all.push(Watched { signal, watchers: 1, unwatched });
        Ok(())
    }

    fn end(signal: i32) {
        let mut all = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watched) = all.iter_mut().find(|watched| watched.signal == signal) {
            watched.watchers -= 1;
            watched.unwatched.store(watched.watchers == 0, Ordering::SeqCst);
        }
    }
}

static WATCHED: Mutex<Vec<Watched>> = Mutex::new(Vec::new());

const BACKLOG: i32 = 4096;

/// How many buffers one send takes: well below the 1,024 that systems allow, and what is over goes
/// with the next one.
const SLICES: usize = 64;
