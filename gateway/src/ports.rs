//! Taking a port, or saying why not.

use std::{io, net::SocketAddr};

use crate::exit::Trouble;

/// What to do when a port is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Fail: somebody asked for this very port, with this flag.
    Fails(&'static str),
    /// Try the next one: any will do for a demo.
    TriesNext,
}

/// Binds `address` with `bind`, or one of the ports after it.
///
/// # Errors
/// When the port is taken and has to be this one, or when no port can be had.
pub fn take<T>(
    address: SocketAddr,
    taken: Taken,
    mut bind: impl FnMut(SocketAddr) -> io::Result<T>,
) -> Result<(T, SocketAddr), Trouble> {
    let tries = if taken == Taken::TriesNext { TRIES } else { 1 };
    let mut last = None;
    for port in (address.port()..=u16::MAX).take(tries) {
        let mut at = address;
        at.set_port(port);
        match bind(at) {
            Ok(bound) => return Ok((bound, at)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = Some((at, error)),
            Err(error) => return Err(trouble(at, taken, &error)),
        }
    }
    let (at, error) = last.unwrap_or((address, io::ErrorKind::AddrInUse.into()));
    Err(trouble(at, taken, &error))
}

fn trouble(at: SocketAddr, taken: Taken, error: &io::Error) -> Trouble {
    let flag = match taken {
        Taken::Fails(flag) => flag,
        Taken::TriesNext => "--listen",
    };
    if error.kind() == io::ErrorKind::AddrInUse {
        return Trouble::new(
            format_args!("cannot listen on {at}: another program does"),
            format_args!("a free port for {flag}"),
            format_args!(
                "stop the other program (`ss -ltnp sport = :{}` names it), or give \
                          another port with {flag}",
                at.port()
            ),
        );
    }
    Trouble::new(
        format_args!("cannot listen on {at}: {error}"),
        "an address of this machine and a port that this user may take",
        format_args!("give another address with {flag}"),
    )
}

const TRIES: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn busy_below(free: u16) -> impl FnMut(SocketAddr) -> io::Result<()> {
        move |at| if at.port() < free { Err(io::ErrorKind::AddrInUse.into()) } else { Ok(()) }
    }

    #[test]
    fn a_demo_takes_the_next_free_port() {
        let ((), found) = take(at(8080), Taken::TriesNext, busy_below(8083)).unwrap();
        assert_eq!(found, at(8083));
        take(at(65_530), Taken::TriesNext, |_| Err::<(), _>(io::ErrorKind::AddrInUse.into()))
            .unwrap_err();
    }

    #[test]
    fn a_port_that_was_asked_for_is_not_exchanged() {
        let trouble = take(at(8080), Taken::Fails("--listen"), busy_below(8081)).unwrap_err();
        let said = trouble.to_string();
        assert!(said.contains("127.0.0.1:8080") && said.contains("--listen"), "{said}");
        assert_eq!(trouble.exit().code(), 1);
    }

    #[test]
    fn another_failure_is_no_reason_to_try_on() {
        let mut tried = 0;
        let refused = |_| {
            tried += 1;
            Err::<(), _>(io::ErrorKind::PermissionDenied.into())
        };
        take(at(80), Taken::TriesNext, refused).unwrap_err();
        assert_eq!(tried, 1);
    }
}
