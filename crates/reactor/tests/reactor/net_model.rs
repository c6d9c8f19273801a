//! Reads that are left and cancelled at random.

use proptest::prelude::*;

use crate::common::{
    World,
    reads::{act, are_seen_once_and_in_order},
};

proptest! {
    #[test]
    fn a_stream_is_seen_once_and_in_order(
        recv_max in 1..12_usize,
        acts in prop::collection::vec(act(), 1..120),
    ) {
        let mut world = World::new();
        world.manual.set_recv_max(recv_max);
        let (stream, peer) = world.connection();
        let send = |bytes: &[u8]| assert_eq!(peer.send(bytes), bytes.len());
        are_seen_once_and_in_order(&mut world, &stream, acts, send, || peer.finish())?;
    }
}
