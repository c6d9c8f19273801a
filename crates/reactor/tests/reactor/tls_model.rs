//! Reads of a TLS stream that are left and cancelled at random.

use bytes::Bytes;
use proptest::prelude::*;

use crate::common::{
    World,
    reads::{act, are_seen_once_and_in_order},
    tls::pair,
};

proptest! {
    #[test]
    fn a_stream_is_seen_once_and_in_order(
        recv_max in 1..40_usize,
        acts in prop::collection::vec(act(), 1..120),
    ) {
        let mut world = World::new();
        let (stream, far) = pair(&mut world);
        world.manual.set_recv_max(recv_max);
        let send = |bytes: &[u8]| far.write(Bytes::copy_from_slice(bytes)).report();
        are_seen_once_and_in_order(&mut world, &stream, acts, send, || far.shutdown().report())?;
    }
}
