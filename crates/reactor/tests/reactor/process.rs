//! Child processes, real ones.

use std::{
    io::ErrorKind,
    os::unix::process::ExitStatusExt,
    time::{Duration, Instant},
};

use rustix::process::{Pid, WaitId, WaitIdOptions, WaitOptions, waitid, waitpid};
use thence_core::{Deferred, Failure, Scope, all, flow, join};
use thence_reactor::{
    DeferredExt, Elapsed, Reactor, Signal, after,
    process::{Child, Command, Stdio},
    run, test,
};

use crate::common::{Log, World, ms};

fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// Does not end by itself. Where a test fails it may be left, and must keep nobody waiting who reads
/// what tests print.
fn sleep() -> Command {
    let mut sleep = Command::new("sleep");
    sleep.arg("1000").stdout(Stdio::null()).stderr(Stdio::null());
    sleep
}

fn sleeper() -> Child {
    sleep().spawn().unwrap()
}

/// Whether there is such a process; a zombie is one.
fn is_there(id: u32) -> bool {
    std::fs::exists(format!("/proc/{id}")).unwrap()
}

/// Ends when the process is gone.
async fn gone(id: u32) {
    while is_there(id) {
        after(ms(1)).await;
    }
}

/// As [`gone`], where there is no reactor.
fn wait_until_gone(id: u32) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while is_there(id) {
        assert!(Instant::now() < deadline, "{id} is still there");
        // Nothing tells a process that somebody else has reaped its child.
        std::thread::sleep(ms(1));
    }
}

#[test]
fn both_streams_are_collected_however_long_they_are() {
    test(async {
        let script = "head -c 1048576 /dev/zero; head -c 1048576 /dev/zero >&2; \
                      head -c 1048576 /dev/zero; echo end >&2";
        let output = sh(script).output().await?;
        assert!(output.status.success());
        assert_eq!((output.stdout.len(), output.stderr.len()), (2 << 20, (1 << 20) + 4));
        assert!(output.stderr.ends_with(b"end\n"));
        Ok(())
    });
}

#[test]
fn a_mebibyte_goes_in_and_comes_out() {
    test(async {
        let mut cat = Command::new("cat");
        let mut cat = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = cat.stdin.take().unwrap();
        let sent = flow(async move {
            stdin.write(vec![7; 1 << 20]).await?;
            stdin.shutdown().await
        });
        let (output, ()) = join((cat.wait_with_output(), sent)).await?;
        assert!(output.status.success());
        assert_eq!(output.stdout, vec![7; 1 << 20]);
        Ok(())
    });
}

#[test]
fn it_says_how_a_child_has_ended() {
    test(async {
        assert_eq!(sh("exit 7").status().await?.code(), Some(7));
        assert_eq!(sh("kill -TERM $$").status().await?.signal(), Some(15));
        assert_eq!(Command::new("true").status().await?.code(), Some(0));
        Ok(())
    });
}

#[test]
fn the_command_is_carried_out_as_said() {
    test(async {
        let mut command = sh("pwd; echo $ONE-$TWO-$HOME; cat");
        command.env_clear().env("ONE", "1").env("TWO", "2").env_remove("TWO").current_dir("/");
        command.env("PATH", std::env::var_os("PATH").unwrap());
        let output = command.output().await?;
        assert_eq!(output.stdout, b"/\n1--\n"); // and `cat` has nothing to read
        Ok(())
    });
}

#[test]
fn the_end_of_its_input_ends_a_child_that_reads() {
    test(async {
        let mut cat = Command::new("cat");
        cat.stdin(Stdio::piped()).stdout(Stdio::null());
        let [mut shut, mut dropped, mut kept] = [cat.spawn()?, cat.spawn()?, cat.spawn()?];
        let stdin = shut.stdin.take().unwrap();
        stdin.shutdown().await?;
        assert!(shut.wait().await?.success());
        drop(dropped.stdin.take());
        assert!(dropped.wait().await?.success());
        assert!(kept.wait().await?.success()); // which closes it
        Ok(())
    });
}

#[test]
fn its_output_ends_when_it_is_killed_midway() {
    test(async {
        let mut yes = Command::new("yes").stdout(Stdio::piped()).spawn()?;
        let stdout = yes.stdout.take().unwrap();
        assert_eq!(stdout.read_exact(4).await?, "y\ny\n");
        yes.kill()?;
        assert_eq!(yes.wait().await?.signal(), Some(9));
        while !stdout.read(1 << 16).await?.is_empty() {}
        yes.kill()?; // does nothing
        Ok(())
    });
}

#[test]
fn a_child_gets_the_signal_that_is_sent() {
    test(async {
        let mut child = sleeper();
        assert_eq!(child.try_wait(), None);
        child.signal(Signal::Terminate)?;
        let status = child.wait().await?;
        assert_eq!(status.signal(), Some(15));
        assert_eq!(child.try_wait(), Some(status));
        assert_eq!(child.wait().await?, status);
        child.signal(Signal::Terminate)?; // does nothing
        Ok(())
    });
}

#[test]
fn a_child_nobody_waits_for_runs_on_and_is_reaped() {
    test(async {
        let mut left = sh("read line; exit 3").stdin(Stdio::piped()).spawn()?;
        let (id, stdin) = (left.id(), left.stdin.take().unwrap());
        drop(left.wait());
        drop(left);
        after(ms(5)).await;
        assert!(is_there(id));
        stdin.write("go on\n").await?;
        gone(id).await;

        let unwaited = Command::new("true").spawn()?;
        gone(unwaited.id()).await;
        assert!(unwaited.try_wait().unwrap().success());
        Ok(())
    });
}

#[test]
fn a_cancelled_wait_kills_and_ends_when_the_child_is_gone() {
    test(async {
        let mut child = sleeper();
        let wait = child.wait();
        wait.cancel();
        assert!(wait.settled().await.is_cancelled());
        assert!(!is_there(child.id()));
        assert_eq!(child.try_wait().unwrap().signal(), Some(9));
        Ok(())
    });
}

#[test]
fn a_request_that_comes_too_late_gets_the_status() {
    test(async {
        let mut child = Command::new("true").spawn()?;
        // It has ended, and is a zombie until the reactor has its next turn.
        let pid = Pid::from_raw(child.id() as i32).unwrap();
        let ended = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        assert!(ended.unwrap().is_some());
        let wait = child.wait();
        wait.cancel();
        assert!(wait.await?.success());
        Ok(())
    });
}

#[test]
fn a_time_limit_kills_unless_it_is_shielded() {
    test(async {
        let mut child = sleeper();
        let late = child.wait().shield().timeout(ms(1)).await.unwrap_err();
        assert!(late.is::<Elapsed>() && is_there(child.id()));
        let late = child.wait().timeout(ms(1)).await.unwrap_err();
        assert!(late.is::<Elapsed>());
        gone(child.id()).await;
        Ok(())
    });
}

#[test]
fn whoever_else_waits_is_told_that_it_was_killed() {
    test(async {
        let mut child = sleeper();
        let (one, other) = (child.wait(), child.wait());
        one.cancel();
        assert_eq!(other.await?.signal(), Some(9));
        assert!(one.settled().await.is_cancelled());
        Ok(())
    });
}

#[test]
fn a_scope_that_ends_early_or_is_cancelled_kills_its_children() {
    test(async {
        let ids = Log::new();
        let seen = ids.clone();
        let failed = Scope::run(|scope| async move {
            for mut child in [sleeper(), sleeper()] {
                seen.push(child.id());
                scope.add(child.wait());
            }
            Err::<(), _>(Failure::msg("the body has failed"))
        });
        assert_eq!(failed.await.unwrap_err().to_string(), "the body has failed");
        assert!(ids.all().into_iter().all(|id| !is_there(id)));

        let seen = ids.clone();
        Scope::run(|scope| async move {
            let mut child = sleeper();
            seen.push(child.id());
            scope.add(child.wait());
            scope.cancel();
            Ok(())
        })
        .await?;
        assert!(ids.all().into_iter().all(|id| !is_there(id)));
        Ok(())
    });
}

#[test]
fn kill_on_drop_kills_once_nobody_has_or_waits_for_the_child() {
    test(async {
        let spawn = || sleep().kill_on_drop(true).spawn();
        let child = spawn()?;
        let id = child.id();
        drop(child);
        gone(id).await;

        let mut child = spawn()?;
        let (id, wait) = (child.id(), child.wait());
        drop(child);
        after(ms(5)).await;
        assert!(is_there(id));
        drop(wait);
        gone(id).await;

        let mut kept = spawn()?;
        drop(kept.wait());
        after(ms(5)).await;
        assert!(is_there(kept.id()));
        drop(kept);
        Ok(())
    });
}

#[test]
fn a_hundred_children_at_once() {
    test(async {
        let outputs = (0..100).map(|n| sh(&format!("echo {n}; exit {n}")).output());
        for (n, output) in all(outputs).await?.into_iter().enumerate() {
            assert_eq!(output.status.code(), Some(n as i32));
            assert_eq!(output.stdout, format!("{n}\n").as_bytes());
        }
        Ok(())
    });
}

#[test]
fn a_program_that_cannot_be_started_is_named() {
    test(async {
        let error = Command::new("no-such-program").spawn().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().starts_with("cannot start `no-such-program`: "), "{error}");
        let failures = [
            Command::new("no-such-program").status().await.map(drop).unwrap_err(),
            Command::new("no-such-program").output().await.map(drop).unwrap_err(),
        ];
        assert!(failures.iter().all(|failure| failure.to_string().contains("`no-such-program`")));
        Ok(())
    });
}

#[test]
fn a_child_inherits_nothing_that_was_opened_here_but_its_three_descriptors() {
    test(async {
        // Whoever started the tests may have left some open.
        let mut plain = std::process::Command::new("ls");
        let before = plain.arg("/proc/self/fd").output()?;
        let _file = thence_reactor::fs::File::open("/dev/null").await?;
        let _pair = thence_reactor::net::UnixStream::pair()?;
        let _other = Command::new("cat").stdin(Stdio::piped()).spawn()?;
        let output = Command::from(plain).stdin(Stdio::null()).output().await?;
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&before.stdout)
        );
        Ok(())
    });
}

#[test]
fn an_exit_status_that_somebody_else_has_taken_is_a_failure_that_says_so() {
    test(async {
        let mut child = Command::new("true").spawn()?;
        let pid = Pid::from_raw(child.id() as i32);
        waitpid(pid, WaitOptions::empty()).unwrap();
        let failure = child.wait().await.unwrap_err();
        let said = format!("the exit status of `true` (process {}) is not known", child.id());
        assert!(failure.to_string().starts_with(&said), "{failure}");
        assert!(child.wait().await.is_err());
        Ok(())
    });
}

#[test]
fn a_run_waits_for_a_child_that_is_waited_for_and_for_no_other() {
    let ended = Log::new();
    let seen = ended.clone();
    let other = run(async move {
        let mut child = Command::new("true").spawn()?;
        child.wait().inspect(move |status| seen.push(status.success())).report();
        Ok(sleeper().id())
    })
    .unwrap();
    assert_eq!(ended.all(), [true]);
    wait_until_gone(other);
}

#[test]
fn what_still_runs_at_the_reactor_s_end_is_killed_or_left_by_choice() {
    let mut reactor = Reactor::builder().signals(false).drain(ms(1)).build().unwrap();
    let (killed, left) = reactor
        .run(async {
            let left = sleep().outlive(true).spawn()?;
            Ok((sleeper(), left))
        })
        .unwrap();
    assert!(is_there(killed.id()) && is_there(left.id()));
    drop(reactor);
    wait_until_gone(killed.id());
    assert!(is_there(left.id()));
    left.kill().unwrap();
    wait_until_gone(left.id()); // somebody reaps it still
    assert_eq!((killed.try_wait(), left.try_wait()), (None, None));
}

#[test]
fn a_drain_that_is_cut_kills_whom_somebody_waits_for() {
    let mut reactor = Reactor::builder().signals(false).drain(ms(1)).build().unwrap();
    let id = reactor
        .run(async {
            let mut child = sleeper();
            child.wait().report();
            Ok(child.id())
        })
        .unwrap();
    drop(reactor);
    wait_until_gone(id);
}

#[test]
fn the_manual_driver_has_no_children_and_starts_none() {
    let _world = World::new();
    // Nobody has looked for the program yet.
    let error = Command::new("no-such-program").spawn().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("manual driver has no descriptors"), "{error}");
    let never: Deferred<_> = Command::new("true").status();
    assert!(crate::common::watch(never).err().to_string().contains("cannot start `true`"));
}
