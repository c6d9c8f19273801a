//! The drivers, and the world around each.

use std::{net::TcpStream, time::Duration};

use rustix::net::sockopt;
use thence_reactor::driver::{Address, Driver, manual::Manual, ready::Ready};

/// Calls `$callback! { name kind type tokens }` for each driver. The kind says whether there are
/// descriptors behind its sockets.
macro_rules! for_each_driver {
    ($callback:ident! $tokens:tt) => {
        $callback! { manual in_memory (crate::drivers::OnManual) $tokens }
        $callback! { ready with_descriptors (crate::drivers::OnReady) $tokens }
    };
}

/// Each of these functions as a test on each driver: of a `Bench`, or of a `Stage`.
macro_rules! on_every_driver {
    ($place:ident: $($behaviour:ident,)*) => {
        $(mod $behaviour {
            for_each_driver! { on_a_driver! ($place $behaviour) }
        })*
    };
}

macro_rules! on_a_driver {
    ($name:ident $kind:ident ($driver:path) ($place:ident $behaviour:ident)) => {
        #[test]
        fn $name() {
            $crate::$place::check::<$driver>(super::$behaviour);
        }
    };
}

/// How a driver is made for a test.
pub trait Tested {
    type Driver: Driver;

    fn make() -> (Self::Driver, Box<dyn Outside>);
}

/// What happens to a driver and does not come from it.
pub trait Outside {
    /// A signal arrives.
    fn raise(&self, signal: i32);

    /// Somebody connects by TCP and breaks the connection at once.
    fn connect_and_reset(&self, to: &Address);
}

pub struct OnManual;

pub struct OnReady;

impl Tested for OnManual {
    type Driver = Manual;

    fn make() -> (Manual, Box<dyn Outside>) {
        let manual = Manual::new();
        (manual.clone(), Box::new(manual))
    }
}

impl Outside for Manual {
    fn raise(&self, signal: i32) {
        Manual::raise(self, signal);
    }

    fn connect_and_reset(&self, to: &Address) {
        self.connect(to.clone()).unwrap().reset();
    }
}

impl Tested for OnReady {
    type Driver = Ready;

    fn make() -> (Ready, Box<dyn Outside>) {
        (Ready::new().unwrap(), Box::new(System))
    }
}

/// The real one.
struct System;

impl Outside for System {
    fn raise(&self, signal: i32) {
        signal_hook::low_level::raise(signal).unwrap();
    }

    fn connect_and_reset(&self, to: &Address) {
        let stream = TcpStream::connect(to.clone().ip().unwrap()).unwrap();
        // It closes with a reset then.
        sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    }
}
