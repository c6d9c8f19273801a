//! Sockets that whoever started this process has handed over.

use std::{
    env, fmt, io, process,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use listenfd::ListenFd;

use super::{TcpListener, UdpSocket, UnixDatagram, UnixListener};

/// The sockets that were handed over to this process by `LISTEN_FDS`, as systemd does for a socket
/// unit: it listens before the program runs, so that nobody is turned away while that starts or is
/// replaced, and the program needs no right to bind.
///
/// They are asked for by their place, or by the name that the unit gives them
/// (`FileDescriptorName=`), and each once in a process. The first call takes `LISTEN_FDS` and
/// `LISTEN_PID` out of the environment, lest a child takes them for its own: make it before there
/// are other threads, which may be reading it.
///
/// ```
/// use thence_reactor::net::{TcpListener, inherited};
/// # thence_reactor::run(async {
///
/// let handed_over = inherited();
/// let listener = match handed_over.is_empty() {
///     true => TcpListener::bind("127.0.0.1:0")?,
///     false => handed_over.tcp_listener("http")?,
/// };
/// # Ok(()) }).unwrap();
/// ```
///
/// To try it: `systemd-socket-activate -l 8080 --fdname=http PROGRAM`.
#[doc(alias = "LISTEN_FDS")]
#[doc(alias = "socket activation")]
pub fn inherited() -> Inherited {
    Inherited { names: handed().names.clone() }
}

/// What was handed over; see [`inherited`].
#[derive(Debug)]
pub struct Inherited {
    names: Vec<String>,
}

/// Which of the sockets: the place, from 0, or the name. Of several with one name it is the first
/// that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// By its name.
    Name(String),
    /// By its place.
    Place(usize),
}

impl Inherited {
    /// How many were handed over, those that were taken since among them.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Their names, in order. One without a name is `unknown`, as systemd has it.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The listening TCP socket `which`: `0`, `"http"`.
    ///
    /// # Errors
    ///
    /// When there is none such, it was taken before, or is something else. The error says what
    /// there is.
    ///
    /// # Panics
    ///
    /// When this thread has no reactor.
    #[track_caller]
    pub fn tcp_listener(&self, which: impl Into<Which>) -> io::Result<TcpListener> {
        take(&which.into(), ListenFd::take_tcp_listener, TcpListener::from_std)
    }

    /// The listening Unix socket `which`. Its file belongs to whoever made it, and stays.
    ///
    /// # Errors
    ///
    /// As [`tcp_listener`](Inherited::tcp_listener).
    ///
    /// # Panics
    ///
    /// When this thread has no reactor.
    #[track_caller]
    pub fn unix_listener(&self, which: impl Into<Which>) -> io::Result<UnixListener> {
        take(&which.into(), ListenFd::take_unix_listener, UnixListener::from_std)
    }

    /// The UDP socket `which`.
    ///
    /// # Errors
    ///
    /// As [`tcp_listener`](Inherited::tcp_listener).
    ///
    /// # Panics
    ///
    /// When this thread has no reactor.
    #[track_caller]
    pub fn udp_socket(&self, which: impl Into<Which>) -> io::Result<UdpSocket> {
        take(&which.into(), ListenFd::take_udp_socket, UdpSocket::from_std)
    }

    /// The Unix socket for datagrams `which`. Its file belongs to whoever made it, and stays.
    ///
    /// # Errors
    ///
    /// As [`tcp_listener`](Inherited::tcp_listener).
    ///
    /// # Panics
    ///
    /// When this thread has no reactor.
    #[track_caller]
    pub fn unix_datagram(&self, which: impl Into<Which>) -> io::Result<UnixDatagram> {
        take(&which.into(), ListenFd::take_unix_datagram, UnixDatagram::from_std)
    }
}

impl From<usize> for Which {
    fn from(place: usize) -> Self {
        Which::Place(place)
    }
}

impl From<&str> for Which {
    fn from(name: &str) -> Self {
        Which::Name(name.to_owned())
    }
}

impl From<String> for Which {
    fn from(name: String) -> Self {
        Which::Name(name)
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Which::Name(name) => write!(f, "socket `{name}`"),
            Which::Place(place) => write!(f, "socket {place}"),
        }
    }
}

/// What this process was handed, once for all of it: a descriptor has one owner.
struct Handed {
    sockets: ListenFd,
    names: Vec<String>,
    taken: Vec<bool>,
    /// What the environment said.
    told: String,
}

impl Handed {
    fn from_env() -> Self {
        let told = match (env::var("LISTEN_FDS"), env::var("LISTEN_PID")) {
            (Err(_), _) => "LISTEN_FDS is not set".to_owned(),
            (Ok(count), Ok(pid)) if !pid.is_empty() && pid != process::id().to_string() => {
                format!(
                    "LISTEN_FDS={count} is for process {pid} (LISTEN_PID), and this is {}",
                    process::id()
                )
            }
            (Ok(count), _) => format!("LISTEN_FDS={count}"),
        };
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names: Vec<String> = names.split(':').map(str::to_owned).collect();
        let sockets = ListenFd::from_env();
        names.resize(sockets.len(), String::new());
        for name in names.iter_mut().filter(|name| name.is_empty()) {
            name.push_str("unknown");
        }
        let taken = vec![false; sockets.len()];
        Handed { sockets, names, taken, told }
    }

    fn place(&self, which: &Which) -> io::Result<usize> {
        let named = |name| {
            let places = (0..self.names.len()).filter(move |place| self.names[*place] == name);
            places.clone().find(|place| !self.taken[*place]).or(places.clone().next())
        };
        let place = match which {
            Which::Name(name) => named(name.as_str()),
            Which::Place(place) => Some(*place).filter(|place| *place < self.names.len()),
        };
        let Some(place) = place else {
            let there = match self.names.as_slice() {
                [] => format!(
                    "nothing was ({}): start this from a systemd socket unit, or try \
                     `systemd-socket-activate -l 8080 PROGRAM`",
                    self.told
                ),
                names => {
                    let each = names.iter().enumerate();
                    let each: Vec<_> = each.map(|(at, name)| format!("{at} (`{name}`)")).collect();
                    format!("there are {}", each.join(", "))
                }
            };
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("{which} was not handed over to this process; {there}"),
            ));
        };
        if self.taken[place] {
            let text = format!("{which} was handed over, and was taken before");
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        Ok(place)
    }
}

#[track_caller]
fn take<S, T>(
    which: &Which,
    take: impl FnOnce(&mut ListenFd, usize) -> io::Result<Option<S>>,
    from_std: impl FnOnce(S) -> io::Result<T>,
) -> io::Result<T> {
    let mut handed = handed();
    let place = handed.place(which)?;
    let unfit = |error: io::Error| {
        io::Error::new(error.kind(), format!("{which}, which was handed over, is unfit: {error}"))
    };
    let Some(socket) = take(&mut handed.sockets, place).map_err(unfit)? else {
        unreachable!("it is there and was not taken");
    };
    handed.taken[place] = true;
    // It may panic, when there is no reactor.
    drop(handed);
    from_std(socket).map_err(unfit)
}

fn handed() -> MutexGuard<'static, Handed> {
    static HANDED: LazyLock<Mutex<Handed>> = LazyLock::new(|| Mutex::new(Handed::from_env()));
    HANDED.lock().unwrap_or_else(PoisonError::into_inner)
}
