use std::sync::mpsc::{self, Receiver, Sender};

use super::*;

/// A sink with room for so many bytes, which a test gives and takes.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<Held>>);

#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    room: usize,
    /// How often there was none.
    refused: usize,
}

impl Disk {
    fn with_room(room: usize) -> Self {
        Self(Arc::new(Mutex::new(Held { room, ..Held::default() })))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().bytes.clone()).unwrap()
    }
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.0.lock().unwrap();
        if disk.room == 0 {
            disk.refused += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        let count = bytes.len().min(disk.room);
        disk.bytes.extend_from_slice(&bytes[..count]);
        disk.room -= count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A sink that takes nothing until it is told to: a pipe whose reader sleeps.
struct Pipe(Receiver<()>, Disk);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Fails when the test lets go of its end: from then on there is room.
        let _ = self.0.recv();
        self.1.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn pipe() -> (Sender<()>, Pipe, Disk) {
    let (room, told) = mpsc::channel();
    let disk = Disk::with_room(usize::MAX);
    (room, Pipe(told, disk.clone()), disk)
}

fn options() -> Options {
    Options {
        capacity: 1000,
        notice_every: Duration::ZERO,
        notice: |lost| format!("lost {lost}\n"),
        open: None,
    }
}

fn start(sink: impl Write + Send + 'static, options: Options) -> LogWriter {
    LogWriter::start(Box::new(sink), options).unwrap()
}

fn log(log: &LogWriter, lines: usize) {
    let mut writer = log;
    (0..lines).for_each(|line| writer.write_all(format!("line {line:04}\n").as_bytes()).unwrap());
}

/// Lines that are whole, and lines said to be lost.
fn counted(text: &str) -> (usize, usize) {
    let said = text.lines().filter_map(|line| line.strip_prefix("lost ")?.parse::<usize>().ok());
    let whole = text.lines().filter(|line| line.len() == 9 && line.starts_with("line "));
    (whole.count(), said.sum())
}

#[test]
fn lines_are_written_in_their_order() {
    let disk = Disk::with_room(usize::MAX);
    let writer = start(disk.clone(), options());
    log(&writer, 50);
    assert!(writer.close(SOON));
    let lines: Vec<_> = (0..50).map(|line| format!("line {line:04}\n")).collect();
    assert_eq!(disk.text(), lines.concat());
    assert_eq!(writer.lost(), 0);
}

#[test]
fn a_reader_that_sleeps_costs_lines_and_holds_nobody_up() {
    let (room, pipe, disk) = pipe();
    let writer = start(pipe, options());
    log(&writer, 5000);
    drop(room);
    assert!(writer.close(SOON));
    let (written, lost) = counted(&disk.text());
    assert!(lost >= 4800, "{lost}");
    assert_eq!(written + lost, 5000, "{}", disk.text());
    assert_eq!(writer.lost(), lost as u64);
}

#[test]
fn a_reader_that_never_reads_does_not_stop_the_end() {
    let (room, pipe, _) = pipe();
    let writer = start(pipe, options());
    log(&writer, 10);
    assert!(!writer.close(Duration::from_millis(5)));
    drop(room);
}

#[test]
fn a_full_disk_costs_lines_and_no_line_is_glued_to_one_that_was_cut() {
    let disk = Disk::with_room(34);
    let writer = start(disk.clone(), options());
    log(&writer, 5);
    // Three lines and a piece of the fourth.
    while writer.lost() < 2 {
        thread::yield_now();
    }
    disk.0.lock().unwrap().room = usize::MAX;
    log(&writer, 2);
    assert!(writer.close(SOON));
    let text = disk.text();
    assert_eq!(counted(&text), (5, 2), "{text}");
    assert!(text.starts_with("line 0000\nline 0001\nline 0002\nline\nlost 2\n"), "{text}");
}

#[test]
fn a_line_that_lacks_its_newline_is_not_lost() {
    let disk = Disk::with_room(19);
    let writer = start(disk.clone(), options());
    log(&writer, 3);
    while writer.lost() < 1 {
        thread::yield_now();
    }
    disk.0.lock().unwrap().room = usize::MAX;
    assert!(writer.close(SOON));
    assert_eq!(disk.text(), "line 0000\nline 0001\nlost 1\n");
}

#[test]
fn lost_lines_are_told_of_now_and_then_and_at_the_end() {
    let disk = Disk::with_room(10);
    let hour = Duration::from_secs(3600);
    let writer = start(disk.clone(), Options { notice_every: hour, ..options() });
    log(&writer, 2);
    while disk.0.lock().unwrap().refused < 2 {
        thread::yield_now();
    }
    // A line, and the notice of that. The next is an hour away, or at the end.
    disk.0.lock().unwrap().room = usize::MAX;
    log(&writer, 1);
    assert!(writer.close(SOON));
    assert_eq!(counted(&disk.text()), (2, 1));
}

#[test]
fn a_log_that_is_opened_anew_goes_on_in_the_new_file() {
    let (old, new) = (Disk::with_room(usize::MAX), Disk::with_room(usize::MAX));
    let opened = new.clone();
    let open: Box<dyn Fn() -> io::Result<Sink> + Send> =
        Box::new(move || Ok(Box::new(opened.clone())));
    let writer = start(old.clone(), Options { open: Some(open), ..options() });
    log(&writer, 1);
    while old.text().is_empty() {
        thread::yield_now();
    }
    writer.reopen();
    log(&writer, 2);
    assert!(writer.close(SOON));
    assert_eq!((counted(&old.text()).0, counted(&new.text()).0), (1, 2));
}

#[test]
fn a_log_that_cannot_be_opened_anew_stays() {
    let disk = Disk::with_room(usize::MAX);
    let open: Box<dyn Fn() -> io::Result<Sink> + Send> =
        Box::new(|| Err(io::ErrorKind::NotFound.into()));
    let writer = start(disk.clone(), Options { open: Some(open), ..options() });
    writer.reopen();
    log(&writer, 1);
    assert!(writer.close(SOON));
    assert_eq!(disk.text(), "line 0000\n");
}

/// Longer than anything takes.
const SOON: Duration = Duration::from_secs(20);
