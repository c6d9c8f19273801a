//! Every Deferred of a connection, in everything that may happen to it and to whoever waits.
//!
//! Built as the table of `driver`. The test of a cell is `net::tcp_read::left_during::ready`.

use self::{
    accept::Accept,
    connect::Connect,
    family::{Pair, Tcp, Tls, Unix},
    read::{AtMost, Exactly, Read},
    write::{Shutdown, Write},
};

mod accept;
mod asked;
mod connect;
mod family;
mod moments;
mod read;
mod write;

macro_rules! rows {
    ($($name:ident: $asked:ty [
        $completes:tt $found_there:tt
        $cut_before:tt $cut_during:tt $cut_after:tt
        $left_before:tt $left_during:tt $left_after:tt
        $one_of_two:tt $times_out:tt $in_time:tt
        $finishes:tt $resets:tt
        $dropped:tt $dropped_and_left:tt $aborted:tt $reactor:tt
    ])*) => {
        $(mod $name {
            cell! { $completes completes $asked }
            cell! { $found_there found_there $asked }
            cell! { $cut_before cancelled_before $asked }
            cell! { $cut_during cancelled_during $asked }
            cell! { $cut_after cancelled_after $asked }
            cell! { $left_before left_before $asked }
            cell! { $left_during left_during $asked }
            cell! { $left_after left_after $asked }
            cell! { $one_of_two one_of_two_left $asked }
            cell! { $times_out times_out $asked }
            cell! { $in_time ends_in_time $asked }
            cell! { $finishes peer_finishes $asked }
            cell! { $resets peer_resets $asked }
            cell! { $dropped source_dropped $asked }
            cell! { $dropped_and_left source_dropped_and_left $asked }
            cell! { $aborted source_aborted $asked }
            cell! { $reactor reactor_dropped $asked }
        })*
    };
}

macro_rules! cell {
    (x $moment:ident $asked:ty) => {
        mod $moment {
            use super::super::*;
            for_each_driver! { test_of_a_cell! ($moment ($asked)) }
        }
    };
    ($reason:tt $moment:ident $asked:ty) => {
        const _: &str = super::$reason;
    };
}

macro_rules! test_of_a_cell {
    ($name:ident $kind:ident ($driver:path) ($moment:ident ($asked:ty))) => {
        #[test]
        fn $name() {
            $crate::stage::check::<$driver>(moments::$moment::<$asked>);
        }
    };
}

//  completes               left_before             times_out             source_dropped
//  | found_there           | left_during           | ends_in_time        | source_dropped_and_left
//  | | cancelled_before    | | left_after          | | peer_finishes     | | source_aborted
//  | | | cancelled_during  | | | one_of_two_left   | | | peer_resets     | | | reactor_dropped
//  | | | | cancelled_after
rows! {
    tcp_accept: Accept<Tcp>
        [x x x x x x x x x x x x SAID_BY_READS x x x x]
    tcp_connect: Connect<Tcp>
        [x x AT_ONCE x x AT_ONCE x x x AT_ONCE x x x NO_HANDLE NO_HANDLE NO_HANDLE x]
    tcp_read: Read<Tcp, AtMost>
        [x x x x x x x x x x x x x x x x x]
    tcp_read_exact: Read<Tcp, Exactly>
        [x x x x x x x x x x x x x x x x x]
    tcp_write: Write<Tcp>
        [x x x x x x x x x x x x x x STAYS x x]
    tcp_shutdown: Shutdown<Tcp>
        [x x x x x x x x x x x x x x STAYS x x]

    unix_accept: Accept<Unix>
        [x x x x x x x x x x x x SAID_BY_READS x x x x]
    unix_connect: Connect<Unix>
        [x x AT_ONCE x x AT_ONCE x x x AT_ONCE x x x NO_HANDLE NO_HANDLE NO_HANDLE x]
    unix_read: Read<Unix, AtMost>
        [x x x x x x x x x x x x x x x x x]
    unix_read_exact: Read<Unix, Exactly>
        [x x x x x x x x x x x x x x x x x]
    unix_write: Write<Unix>
        [x x x x x x x x x x x x x x STAYS x x]
    unix_shutdown: Shutdown<Unix>
        [x x x x x x x x x x x x x x STAYS x x]

    pair_read: Read<Pair, AtMost>
        [x x x x x x x x x x x x x x x x x]
    pair_write: Write<Pair>
        [x x x x x x x x x x x x x x STAYS x x]

    tls_read: Read<Tls, AtMost>
        [x x x x x x x x x x x x HEARS_OUT x HEARS_OUT x x]
    tls_read_exact: Read<Tls, Exactly>
        [x x x x x x x x x x x x HEARS_OUT x HEARS_OUT x x]
    tls_write: Write<Tls>
        [x x x x x x x x x x x x x x STAYS x x]
    tls_shutdown: Shutdown<Tls>
        [x x x x x x x x x x x x x x STAYS x x]
}

const AT_ONCE: &str = "on one machine a connect is over before anything else can happen to it";
const HEARS_OUT: &str = "a TLS stream that was dropped hears the other end out";
const NO_HANDLE: &str = "nobody has the stream before it is connected";
const SAID_BY_READS: &str = "a connection that was reset is accepted, and its reads say so";
const STAYS: &str = "what was written goes out, whoever left";
