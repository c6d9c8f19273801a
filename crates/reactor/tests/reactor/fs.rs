//! Files: in order, off the loop, and nothing lost or leaked by whoever leaves or cancels.

use std::{
    io::{ErrorKind, SeekFrom},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use thence_core::{Failure, all};
use thence_reactor::{
    Reactor,
    driver::manual::Manual,
    fs::{self, File},
    run,
};

use crate::common::{Log, World, watch};

/// A directory of one test.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let name = format!("thence-fs-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Dir(path)
    }

    fn with(self, name: &str, text: &str) -> Self {
        std::fs::write(self.0.join(name), text).unwrap();
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl World {
    /// Runs the jobs there are, and those they lead to.
    fn run_jobs(&mut self) {
        self.settle();
        while self.manual.run_job() {
            self.settle();
        }
    }

    fn open(&mut self, path: &Path) -> File {
        let file = watch(File::open(path));
        self.run_jobs();
        file.ok()
    }
}

/// How many descriptors of this process are open on `path`.
fn open_on(path: &Path) -> usize {
    let path = path.canonicalize().unwrap();
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap();
    let links = descriptors.filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok());
    links.filter(|link| *link == path).count()
}

fn kind(failure: &Failure) -> Option<ErrorKind> {
    failure.downcast_ref().map(std::io::Error::kind)
}

#[test]
fn the_functions_do_what_those_of_std_do() {
    let dir = Dir::new();
    let path = move |name: &str| dir.path(name);
    run(async move {
        fs::create_dir_all(path("a/b")).await?;
        fs::create_dir(path("c")).await?;
        fs::write(path("a/one"), "one").await?;
        assert_eq!(fs::read(path("a/one")).await?, "one");
        assert_eq!(fs::read_to_string(path("a/one")).await?, "one");
        assert_eq!(fs::metadata(path("a/one")).await?.len(), 3);
        assert_eq!(fs::copy(path("a/one"), path("a/two")).await?, 3);
        fs::hard_link(path("a/one"), path("a/three")).await?;
        fs::rename(path("a/two"), path("c/two")).await?;
        assert!(fs::try_exists(path("c/two")).await?);
        assert!(!fs::try_exists(path("a/two")).await?);
        let mut names: Vec<_> =
            fs::read_dir(path("a")).await?.iter().map(std::fs::DirEntry::file_name).collect();
        names.sort();
        assert_eq!(names, ["b", "one", "three"]);
        fs::set_permissions(path("a/one"), PermissionsExt::from_mode(0o400)).await?;
        assert_eq!(fs::metadata(path("a/one")).await?.permissions().mode() & 0o777, 0o400);
        assert!(!fs::symlink_metadata(path("a/one")).await?.is_symlink());
        assert!(fs::canonicalize(path("a/../a/one")).await?.ends_with("a/one"));
        fs::remove_file(path("c/two")).await?;
        fs::remove_dir(path("c")).await?;
        fs::remove_dir_all(path("a")).await?;
        assert!(!fs::try_exists(path("a")).await?);
        Ok(())
    })
    .unwrap();
}

#[test]
fn an_error_says_what_could_not_be_done_to_which_path() {
    let failures = run(async {
        let none = "/nothing/here";
        Ok([
            fs::read(none).await.map(drop).unwrap_err(),
            fs::rename(none, "/there").await.unwrap_err(),
            fs::write_atomically(none, "x").await.unwrap_err(),
            File::open(none).await.map(drop).unwrap_err(),
            File::open("/dev/null").await?.write("x").await.unwrap_err(),
        ])
    })
    .unwrap();
    let said: Vec<_> = failures.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "cannot read /nothing/here",
            "cannot rename /nothing/here to /there",
            "cannot write /nothing/here",
            "cannot open /nothing/here",
            "cannot write /dev/null",
        ]
    );
    assert!(failures[..4].iter().all(|failure| kind(failure) == Some(ErrorKind::NotFound)));
    assert!(format!("{:#}", failures[0]).starts_with("cannot read /nothing/here: No such file"));
}

#[test]
fn nothing_happens_on_the_loop() {
    let dir = Dir::new().with("file", "text");
    let mut world = World::new();
    let read = watch(fs::read(dir.path("file")));
    let removed = watch(fs::remove_file(dir.path("file")));
    world.settle();
    assert_eq!(world.manual.jobs_waiting(), 2);
    assert!(!read.has_ended() && !removed.has_ended() && dir.path("file").exists());
    world.run_jobs();
    assert_eq!(read.ok(), "text");
    removed.ok();
    assert!(!dir.path("file").exists());
}

#[test]
fn a_busy_pool_makes_wait_and_refuses_nothing() {
    let dir = Dir::new().with("file", "text");
    let mut world = World::with(|builder| builder.pool_queue(1));
    let reads: Vec<_> = (0..5).map(|_| watch(fs::read(dir.path("file")))).collect();
    world.run_jobs();
    assert!(reads.iter().all(|read| read.ok() == "text"));
}

#[test]
fn what_is_asked_of_one_file_is_done_in_that_order() {
    let dir = Dir::new();
    let path = dir.path("file");
    let log = Log::new();
    let seen = log.clone();
    run(async move {
        let file = File::create(&path).await?;
        // On four threads at least.
        let writes = (0..50).map(|n| {
            let seen = seen.clone();
            file.write(format!("{n} ")).inspect(move |()| seen.push(n))
        });
        all(writes).await?;
        let (sought, read) = (file.seek(SeekFrom::Start(0)), file.read(6));
        assert_eq!(sought.await?, 0);
        assert_eq!(read.await?, "0 1 2 ");
        Ok(())
    })
    .unwrap();
    assert_eq!(log.all(), (0..50).collect::<Vec<_>>());
}

#[test]
fn reads_and_writes_at_an_offset_leave_the_position_alone() {
    let dir = Dir::new();
    let path = dir.path("file");
    run(async move {
        let file = File::create(&path).await?;
        file.write("0123456789").await?;
        file.write_at(2, "xx").await?;
        assert_eq!(file.read_at(1, 4).await?, "1xx4");
        assert_eq!(file.read_at(8, 100).await?, "89");
        assert_eq!(file.read_at(10, 100).await?, "");
        file.write("!").await?;
        file.set_len(20).await?;
        assert_eq!(file.metadata().await?.len(), 20);
        file.sync_data().await?;
        file.seek(SeekFrom::Start(9)).await?;
        assert_eq!(file.read(3).await?, "9!\0");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_read_that_was_left_gives_back_what_it_had_taken() {
    let dir = Dir::new().with("file", "abcdefghij");
    let mut world = World::new();
    let file = world.open(&dir.path("file"));

    // In line, on the pool, and with its result there.
    let first = file.read(2);
    let second = file.read(2);
    drop(second);
    world.settle();
    drop(first);
    world.run_jobs();
    let third = file.read(2);
    world.run_jobs();
    assert!(third.is_ready());
    drop(third);
    world.settle();

    let mut all = Vec::new();
    for _ in 0..6 {
        let read = watch(file.read(3));
        world.run_jobs();
        all.extend(read.ok());
    }
    assert_eq!(all, b"abcdefghij");
    drop(file);
    world.run_jobs();
}

#[test]
fn what_a_read_that_was_left_had_taken_is_for_the_next_in_line() {
    let dir = Dir::new().with("file", "abcd");
    let mut world = World::new();
    let file = world.open(&dir.path("file"));
    let left = file.read(2);
    let next = watch(file.read(2));
    drop(left);
    world.run_jobs();
    assert_eq!(next.ok(), "ab");
    drop(file);
    world.run_jobs();
}

#[test]
fn a_read_that_was_left_does_not_move_a_write_or_a_seek() {
    let dir = Dir::new().with("file", "abcdef");
    let mut world = World::new();
    let mut options = std::fs::OpenOptions::new();
    let file = watch(File::open_with(dir.path("file"), options.read(true).write(true)));
    world.run_jobs();
    let file = file.ok();
    drop(file.read(2));
    world.run_jobs();
    let written = watch(file.write("X"));
    world.run_jobs();
    written.ok();
    drop(file.read(2));
    world.run_jobs();
    let sought = watch(file.seek(SeekFrom::Current(1)));
    world.run_jobs();
    assert_eq!(sought.ok(), 2);
    let rest = watch(file.read(100));
    world.run_jobs();
    assert_eq!(rest.ok(), "cdef");
    drop(file);
    world.run_jobs();
    assert_eq!(std::fs::read(dir.path("file")).unwrap(), b"Xbcdef");
}

#[test]
fn a_write_that_was_left_is_written_before_the_file_closes() {
    let dir = Dir::new().with("file", "");
    let mut world = World::new();
    let file = watch(File::create(dir.path("file")));
    world.run_jobs();
    let file = file.ok();
    drop(file.write("one "));
    drop(file.write("two"));
    drop(file);
    world.settle();
    assert_eq!(open_on(&dir.path("file")), 1);
    world.run_jobs();
    assert_eq!(std::fs::read(dir.path("file")).unwrap(), b"one two");
    assert_eq!(open_on(&dir.path("file")), 0);
}

#[test]
fn cancelled_in_line_or_on_the_pool_nothing_is_done_and_the_next_goes_on() {
    let dir = Dir::new().with("file", "");
    let mut world = World::new();
    let file = watch(File::create(dir.path("file")));
    world.run_jobs();
    let file = file.ok();
    let writes = ["on the pool", "in line", "written"].map(|text| file.write(text));
    let cancellers: Vec<_> = writes.iter().map(|write| write.canceller()).collect();
    let writes = writes.map(watch);
    world.settle();
    assert_eq!(world.manual.jobs_waiting(), 1);
    cancellers[1].cancel();
    cancellers[0].cancel();
    world.settle();
    assert!(writes[0].is_cancelled() && writes[1].is_cancelled());
    world.run_jobs();
    writes[2].ok();
    assert_eq!(std::fs::read(dir.path("file")).unwrap(), b"written");
    drop(file);
    world.run_jobs();
}

#[test]
fn a_write_cancelled_after_it_has_started_finishes_and_says_so() {
    let dir = Dir::new().with("file", "");
    let mut world = World::new();
    let file = watch(File::create(dir.path("file")));
    world.run_jobs();
    let file = file.ok();
    let write = file.write("all of it");
    let canceller = write.canceller();
    let write = watch(write);
    world.settle();
    assert!(world.manual.run_job());
    canceller.cancel();
    world.settle();
    write.ok();
    assert_eq!(std::fs::read(dir.path("file")).unwrap(), b"all of it");
    drop(file);
    world.run_jobs();
}

// tokio#7983: the descriptor leaked when an `open` was cancelled.
#[test]
fn an_open_that_was_left_or_cancelled_at_any_point_leaks_no_descriptor() {
    let dir = Dir::new().with("file", "text");
    let path = dir.path("file");
    let mut world = World::new();
    for cancel in [false, true] {
        for point in 0..3 {
            let open = File::open(&path);
            if point > 0 {
                world.settle();
                assert!(world.manual.run_job());
            }
            if point > 1 {
                world.settle();
                assert!(open.is_ready());
            }
            if cancel {
                open.cancel();
            }
            drop(open);
            world.run_jobs();
            assert_eq!(open_on(&path), 0, "cancel: {cancel}, point {point}");
        }
    }
}

#[test]
fn a_reactor_that_ends_first_leaks_no_descriptor_and_ends_every_wait() {
    let dir = Dir::new().with("file", "text");
    let path = dir.path("file");
    let manual = Manual::new();
    let mut reactor = Reactor::builder().driver(manual.clone()).build().unwrap();
    let opened = path.clone();
    let file = reactor.run(async { File::open(opened).await }).unwrap();
    // One has its file, on the way here; one is on the pool; one in line; one is asked for late.
    let opening = watch(File::open(&path));
    assert!(manual.run_job());
    let reads = [watch(file.read(1)), watch(file.read(1))];
    drop(reactor);
    let late = watch(file.read(1));
    assert!(opening.has_ended() && reads.iter().all(|read| read.has_ended()));
    assert!(late.is_cancelled());
    drop((file, opening));
    assert_eq!(open_on(&path), 0);
}

#[test]
fn a_dropped_file_closes_on_the_pool_and_close_waits_for_it() {
    let dir = Dir::new().with("file", "text");
    let path = dir.path("file");
    let mut world = World::new();
    let file = world.open(&path);
    drop(file);
    world.settle();
    assert_eq!((open_on(&path), world.manual.jobs_waiting()), (1, 1));
    world.run_jobs();
    assert_eq!(open_on(&path), 0);

    let file = world.open(&path);
    let read = watch(file.read(9));
    let closed = watch(file.close());
    world.run_jobs();
    assert_eq!(read.ok(), "text");
    closed.ok();
    assert_eq!(open_on(&path), 0);
}

#[test]
fn whatever_was_written_atomically_is_whole_and_keeps_permissions_and_links() {
    let dir = Dir::new().with("file", "old");
    let path = dir.path("file");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink(&path, dir.path("link")).unwrap();
    // Somebody with our number crashed here.
    for n in 0..20 {
        let left = format!(".file.{}-{n}.new", std::process::id());
        std::fs::write(dir.path(&left), "half").unwrap();
    }
    let (link, fresh) = (dir.path("link"), dir.path("fresh"));
    run(async move {
        fs::write_atomically(&link, "new").await?;
        fs::write_atomically(&fresh, "fresh").await
    })
    .unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"new");
    assert_eq!(std::fs::read(dir.path("fresh")).unwrap(), b"fresh");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(std::fs::symlink_metadata(dir.path("link")).unwrap().is_symlink());
    assert_eq!(std::fs::read_dir(&dir.0).unwrap().count(), 3 + 20);
}

#[test]
fn an_atomic_write_that_fails_leaves_no_half_and_what_was_there() {
    let dir = Dir::new();
    std::fs::create_dir(dir.path("taken")).unwrap();
    let path = dir.path("taken");
    let failure = run(async move { fs::write_atomically(path, "x").await }).unwrap_err();
    assert!(failure.to_string().starts_with("cannot write /"), "{failure}");
    assert_eq!(std::fs::read_dir(&dir.0).unwrap().count(), 1);
}
