//! Every operation, in everything that may happen to it while it is pending.
//!
//! A row is an operation on a kind of socket, a column is what happens (`moments`), and a cell is
//! `x`, or why it has no meaning. A cell that is missing does not compile. The test of a cell is
//! `driver::tcp_recv::cancelled_during::ready`.

use self::{
    accept::Accept,
    connect::Connect,
    datagrams::{RecvFrom, SendTo},
    many::Many,
    poll::Polled,
    recv::Recv,
    send::Send,
    signal::Signal,
};
use crate::sockets::{DatagramPair, Pair, Pipe, Tcp, Udp, Unix, UnixDatagrams};

mod accept;
mod connect;
mod datagrams;
mod many;
mod moments;
mod poll;
mod recv;
mod send;
mod signal;
mod subject;

macro_rules! rows {
    ($($name:ident: $subject:ty, $drivers:ident [
        $completes:tt $found_there:tt
        $before:tt $during:tt $any_turn:tt $after:tt $twice:tt $one_of_two:tt
        $finishes:tt $resets:tt $shut_down:tt
        $let_go:tt $let_go_cancelled:tt $dropped:tt
    ])*) => {
        $(mod $name {
            cell! { $completes completes $drivers $subject }
            cell! { $found_there found_there $drivers $subject }
            cell! { $before cancelled_before $drivers $subject }
            cell! { $during cancelled_during $drivers $subject }
            cell! { $any_turn cancelled_at_any_turn $drivers $subject }
            cell! { $after cancelled_after $drivers $subject }
            cell! { $twice cancelled_twice $drivers $subject }
            cell! { $one_of_two one_of_two_cancelled $drivers $subject }
            cell! { $finishes peer_finishes $drivers $subject }
            cell! { $resets peer_resets $drivers $subject }
            cell! { $shut_down shut_down_under_it $drivers $subject }
            cell! { $let_go let_go_under_it $drivers $subject }
            cell! { $let_go_cancelled let_go_and_cancelled $drivers $subject }
            cell! { $dropped driver_dropped $drivers $subject }
        })*
    };
}

macro_rules! cell {
    (x $moment:ident $drivers:ident $subject:ty) => {
        mod $moment {
            #[allow(unused_imports, reason = "it may run on no driver of this list")]
            use super::super::*;
            for_each_driver! { test_of_a_cell! ($drivers $moment ($subject)) }
        }
    };
    ($reason:tt $moment:ident $drivers:ident $subject:ty) => {
        const _: &str = super::$reason;
    };
}

macro_rules! test_of_a_cell {
    ($name:ident in_memory ($driver:path) (with_descriptors $moment:ident ($subject:ty))) => {};
    ($name:ident $kind:ident ($driver:path) ($drivers:ident $moment:ident ($subject:ty))) => {
        #[test]
        fn $name() {
            $crate::bench::check::<$driver>(moments::$moment::<$subject>);
        }
    };
}

//  completes                 cancelled_at_any_turn    peer_finishes            let_go_under_it
//  | found_there             | cancelled_after        | peer_resets            | let_go_and_cancelled
//  | | cancelled_before      | | cancelled_twice      | | shut_down_under_it   | | driver_dropped
//  | | | cancelled_during    | | | one_of_two_cancelled
rows! {
    tcp_accept: Accept<Tcp>, all
        [x x x x x x x x x x x x x x]
    tcp_connect: Connect<Tcp>, all
        [x x AT_ONCE AT_ONCE x x AT_ONCE x x x NO_HANDLE NO_HANDLE NO_HANDLE x]
    tcp_recv: Recv<Tcp>, all
        [x x x x x x x x x x x x x x]
    tcp_recv_many: Many<Tcp>, all
        [x x x x x x x x x x x x x x]
    tcp_send: Send<Tcp>, all
        [x x x x x x x x x x x x x x]
    tcp_poll_accept: Polled<Accept<Tcp>>, all
        [x x x x x x x x x x x ITS_CLOSE x x]
    tcp_poll_recv: Polled<Recv<Tcp>>, all
        [x x x x x x x x x x x x x x]
    tcp_poll_send: Polled<Send<Tcp>>, all
        [x x x x x x x x x x x x x x]

    unix_accept: Accept<Unix>, all
        [x x x x x x x x x NOT_BEFORE_IT x x x x]
    unix_connect: Connect<Unix>, all
        [x x AT_ONCE AT_ONCE x x AT_ONCE x x x NO_HANDLE NO_HANDLE NO_HANDLE x]
    unix_recv: Recv<Unix>, all
        [x x x x x x x x x x x x x x]
    unix_recv_many: Many<Unix>, all
        [x x x x x x x x x x x x x x]
    unix_send: Send<Unix>, all
        [x x x x x x x x x x x x x x]
    unix_poll_accept: Polled<Accept<Unix>>, all
        [x x x x x x x x x NOT_BEFORE_IT x ITS_CLOSE x x]
    unix_poll_recv: Polled<Recv<Unix>>, all
        [x x x x x x x x x x x x x x]
    unix_poll_send: Polled<Send<Unix>>, all
        [x x x x x x x x x x x x x x]

    pair_recv: Recv<Pair>, all
        [x x x x x x x x x x x x x x]
    pair_send: Send<Pair>, all
        [x x x x x x x x x x x x x x]

    pipe_recv: Recv<Pipe>, with_descriptors
        [x x x x x x x x x ONE_WAY ONE_WAY x x x]
    pipe_recv_many: Many<Pipe>, with_descriptors
        [x x x x x x x x x ONE_WAY ONE_WAY x x x]
    pipe_send: Send<Pipe>, with_descriptors
        [x x x x x x x x ONE_WAY x ONE_WAY x x x]
    pipe_poll_recv: Polled<Recv<Pipe>>, with_descriptors
        [x x x x x x x x x ONE_WAY ONE_WAY x x x]
    pipe_poll_send: Polled<Send<Pipe>>, with_descriptors
        [x x x x x x x x ONE_WAY x ONE_WAY x x x]

    udp_recv_from: RecvFrom<Udp>, all
        [x x x x x x x x NO_PEER NO_PEER NO_PEER x x x]
    udp_send_to: SendTo<Udp>, all
        [x x NEVER_WAITS NEVER_WAITS x x NEVER_WAITS NEVER_WAITS NO_PEER NO_PEER NO_PEER x NEVER_WAITS x]
    udp_poll_recv_from: Polled<RecvFrom<Udp>>, all
        [x x x x x x x x NO_PEER NO_PEER NO_PEER x x x]
    unix_recv_from: RecvFrom<UnixDatagrams>, all
        [x x x x x x x x NO_PEER NO_PEER NO_PEER x x x]
    unix_send_to: SendTo<UnixDatagrams>, all
        [x x SAYS_FULL SAYS_FULL x x SAYS_FULL SAYS_FULL NO_PEER x NO_PEER x SAYS_FULL x]
    datagram_pair_recv_from: RecvFrom<DatagramPair>, all
        [x x x x x x x x NO_END NO_END NO_PEER x x x]
    datagram_pair_send_to: SendTo<DatagramPair>, all
        [x x x x x x x x NO_END x NO_PEER x x x]
    datagram_pair_poll_send_to: Polled<SendTo<DatagramPair>>, all
        [x x x x x x x x NO_END x NO_PEER x x x]

    signal_recv: Signal, all
        [x x x x x x x x NO_PEER NO_PEER NO_PEER x x x]
}

const AT_ONCE: &str = "on one machine a connect is over before anything else can happen to it";
const ITS_CLOSE: &str = "the end of the poll closes the listener, on whoever is at the door";
const NEVER_WAITS: &str = "what there is no room for is lost, as UDP has it";
const NO_END: &str = "a pair of datagram sockets has no end of stream";
const NO_HANDLE: &str = "nobody has the socket before it is connected";
const NO_PEER: &str = "it is not connected with anybody";
const NOT_BEFORE_IT: &str = "unread bytes reset a Unix socket, and before its accept it has none";
const ONE_WAY: &str = "a pipe has one direction, and ends when it is closed";
const SAYS_FULL: &str = "a full socket of somebody else is an error, not a wait";
