//! tokio: a runtime on each of two threads, a channel each way.

use std::thread;
use std::time::Instant;

use tokio::runtime::Builder;
use tokio::sync::mpsc::unbounded_channel;

use super::{TRIPS, WARM_UP, on_core};

pub fn run() -> Vec<f64> {
    let (there, mut arriving) = unbounded_channel::<u32>();
    let (back, mut returning) = unbounded_channel::<u32>();
    let other = thread::spawn(move || {
        on_core(1);
        on_a_runtime(async move {
            while let Some(n) = arriving.recv().await {
                back.send(n).expect("it waits for it");
            }
        });
    });
    on_core(0);
    let nanos = on_a_runtime(async move {
        let mut start = Instant::now();
        for n in 0..WARM_UP + TRIPS {
            if n == WARM_UP {
                start = Instant::now();
            }
            there.send(n).expect("it waits for it");
            assert_eq!(returning.recv().await, Some(n));
        }
        start.elapsed().as_nanos() as f64 / f64::from(TRIPS)
    });
    other.join().expect("it does not panic");
    vec![nanos]
}

fn on_a_runtime<T>(main: impl Future<Output = T>) -> T {
    Builder::new_current_thread().build().expect("it opens nothing").block_on(main)
}
