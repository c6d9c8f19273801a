//! What handshakes leave behind, however they end. Alone in its process, which it counts the
//! descriptors of.

use std::fs;

use crate::{
    alone,
    common::{
        ANY, ms,
        tls::{NAME, ends},
    },
};
use thence_reactor::{
    DeferredExt, after,
    net::{TcpListener, TcpStream},
};

const ROUNDS: usize = 60;

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn handshakes_leave_no_descriptor_open_however_they_end() {
    let _alone = alone();
    let (server, client) = ends();
    thence_reactor::test(async move {
        let listener = TcpListener::bind(ANY)?;
        let before = open_descriptors();
        for round in 0..ROUNDS {
            let connecting = TcpStream::connect(listener.local_addr());
            let (far, _) = listener.accept().await?;
            let near = connecting.await?;
            let accepting = server.accept(far);
            match round % 6 {
                0 => {
                    let near = client.connect(near, NAME).await?;
                    let far = accepting.await?;
                    let write = near.write(vec![0; 100_000]);
                    drop(far.read_exact(100_000).await?);
                    write.await?;
                }
                1 => drop(client.connect(near, "other.example").await.unwrap_err()),
                2 => {
                    drop(accepting);
                    drop(client.connect(near, NAME).await.unwrap_err());
                }
                3 => {
                    accepting.cancel();
                    drop(client.connect(near, NAME).await.unwrap_err());
                }
                // Nobody at the other end says a word.
                4 => drop(accepting.timeout(ms(1)).await.unwrap_err()),
                _ => {
                    drop(client.connect(near, NAME));
                    drop(accepting.await.unwrap_err());
                }
            }
        }
        // It fails by the test's own limit.
        while open_descriptors() > before {
            after(ms(1)).await;
        }
        Ok(())
    });
}
