//! What the kernel makes everybody pay who sleeps: a write, a wake-up and a read each way.

use std::os::fd::OwnedFd;
use std::thread;
use std::time::Instant;

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{read, write};

use super::{TRIPS, WARM_UP, on_core};

pub fn run() -> Vec<f64> {
    let [there, back] = [(); 2].map(|()| eventfd(0, EventfdFlags::CLOEXEC).expect("a descriptor"));
    on_core(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            on_core(1);
            for _ in 0..WARM_UP + TRIPS {
                wait(&there);
                tell(&back);
            }
        });
        let mut start = Instant::now();
        for n in 0..WARM_UP + TRIPS {
            if n == WARM_UP {
                start = Instant::now();
            }
            tell(&there);
            wait(&back);
        }
        vec![start.elapsed().as_nanos() as f64 / f64::from(TRIPS)]
    })
}

fn tell(fd: &OwnedFd) {
    write(fd, &1_u64.to_ne_bytes()).expect("its counter is not full");
}

fn wait(fd: &OwnedFd) {
    read(fd, &mut [0; 8]).expect("it blocks until there is something");
}
