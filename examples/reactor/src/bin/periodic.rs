//! Says again and again how much is in a directory: `periodic 1 /var/log`. The counting is done by
//! another thread; one that has begun when you press Ctrl-C is waited for.

use std::{cell::Cell, env, fs, io, path::Path, process, rc::Rc, time::Duration};

use thence::prelude::*;
use thence::{draining, every};

fn main() -> Result<(), Failure> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [seconds, directory] = &args[..] else { usage() };
    let Ok(period) = seconds.parse::<f64>().map(Duration::from_secs_f64) else { usage() };
    if period.is_zero() {
        usage();
    }
    let directory = directory.clone();
    let times = Rc::new(Cell::new(0));
    let counted = times.clone();
    run(async move {
        every(period, move || {
            let (directory, counted) = (directory.clone(), counted.clone());
            offload(move || Ok(size(Path::new(&directory))?)).map(move |bytes| {
                counted.set(counted.get() + 1);
                println!("{bytes} bytes");
            })
        });
        draining().await;
        Ok(())
    })?;
    println!("counted {} times", times.get());
    Ok(())
}

/// What is in the files below a directory.
fn size(directory: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        bytes += match entry.file_type()?.is_dir() {
            true => size(&entry.path())?,
            false => entry.metadata()?.len(),
        };
    }
    Ok(bytes)
}

fn usage() -> ! {
    eprintln!("usage: periodic SECONDS DIRECTORY");
    process::exit(2);
}
