//! What children leave behind: nothing. Alone in its process, whose descriptors it counts.

use rustix::{
    io::Errno,
    process::{WaitId, WaitIdOptions, waitid},
};
use thence_core::{Failure, all};
use thence_reactor::{
    after,
    process::{Command, Stdio},
    run,
};

use crate::alone;

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Whether this process has a child, be it a zombie; it stays what it is.
fn has_children() -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::All, look), Err(Errno::CHILD))
}

#[test]
fn no_descriptor_and_no_zombie_is_left_however_a_child_ends() {
    let _alone = alone();
    run(async {
        // Whatever is opened once is open from here on.
        Command::new("true").output().await?;
        after(std::time::Duration::from_millis(1)).await;
        let before = descriptors();
        for _ in 0..3 {
            all((0..20).map(|_| Command::new("echo").arg("hello").output())).await?;

            let piped = || {
                let mut cat = Command::new("cat");
                cat.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
            };
            let killed = piped()?;
            killed.kill()?;
            let mut cancelled = piped()?;
            let wait = cancelled.wait();
            wait.cancel();
            drop(wait.settled().await);
            let output = piped()?.wait_with_output();
            output.cancel();
            drop(output.settled().await);
            drop(piped()?); // its input ends with it
            drop(Command::new("true").output());
            assert!(Command::new("no-such-program").stdin(Stdio::piped()).spawn().is_err());
            let mut unread = piped()?;
            unread.stdin.take().unwrap().write("never read").await?;
            unread.wait().await?;
        }
        let mut turns = 0;
        while descriptors() != before || has_children() {
            after(std::time::Duration::from_millis(1)).await;
            turns += 1;
            if turns == 10_000 {
                let text = format!("{} descriptors were {before}", descriptors());
                return Err(Failure::msg(format!("{text}, children: {}", has_children())));
            }
        }
        Ok(())
    })
    .unwrap();
}
