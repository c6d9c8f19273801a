//! Bodies by themselves.

use thence_core::{Failure, flow, testing};
use thence_http::{Body, BodyFault, BodyFaultKind};

#[test]
fn a_channel_of_any_capacity_passes_its_chunks_on() {
    for capacity in [0, 1, 64] {
        testing::check_flow(async move {
            let (mut sender, body) = Body::channel(capacity);
            let writing = flow(async move {
                sender.send("one ").await?;
                sender.send("").await?;
                sender.send("two").await?;
                sender.finish();
                Ok(())
            });
            assert_eq!(body.collect(64).await?, "one two");
            writing.await
        });
    }
}

#[test]
fn a_channel_without_room_lets_a_writer_go_on_once_its_chunk_was_read() {
    testing::check_flow(async {
        let (mut sender, mut body) = Body::channel(0);
        let sent = sender.send("one");
        assert!(!sent.is_ready(), "nobody has read it");
        assert_eq!(body.chunk().await?.unwrap(), "one");
        assert!(sent.is_ready());
        sent.await
    });
}

#[test]
fn a_body_longer_than_its_reader_allows_is_a_fault_that_can_be_told_apart() {
    testing::check_flow(async {
        let (mut sender, streamed) = Body::channel(64);
        sender.send("12345").await?;
        for body in [Body::from("12345"), streamed] {
            let failure: Failure = body.collect(4).await.unwrap_err().context("cannot read it");
            let fault = failure.downcast_ref::<BodyFault>().unwrap();
            assert_eq!((fault.kind(), fault.is_upload()), (BodyFaultKind::TooLong, false));
        }
        assert_eq!(Body::from("1234").collect(4).await?, "1234");
        Ok(())
    });
}
