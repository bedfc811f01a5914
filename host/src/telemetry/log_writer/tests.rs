//! Logs that are written, that cannot be, and that can be again.

use super::engine::{Attachment, Engine, Round};
use super::target::Target;
use super::*;
use std::fs;
use std::io::{Read, pipe};
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("outrigger-log-{}-{name}", std::process::id()));
        // Left over from a test that was killed.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn writer() -> (Registry, LogWriter) {
    let registry = Registry::for_threads(2);
    (registry.clone(), LogWriter::start(&registry).unwrap())
}

fn dropped(registry: &Registry, path: &Path) -> u64 {
    registry.counter("outrigger_log_lines_dropped_total", &[("log", path.to_str().unwrap())]).value()
}

#[test]
fn every_thread_keeps_its_order_and_its_lines() {
    let directory = Directory::new("order");
    let path = directory.path("a.log");
    let (registry, writer) = writer();
    thread::scope(|scope| {
        for thread in 0..4 {
            let mut sender = writer.sender(&path).unwrap();
            scope.spawn(move || {
                for line in 0..2000 {
                    assert!(sender.send(format!("{thread} {line}\n").as_bytes()));
                }
            });
        }
    });
    writer.close(Duration::from_secs(60));
    let text = fs::read_to_string(&path).unwrap();
    for thread in 0..4 {
        let start = format!("{thread} ");
        let lines: Vec<usize> = text.lines().filter_map(|line| line.strip_prefix(&start)?.parse().ok()).collect();
        assert_eq!(lines, (0..2000).collect::<Vec<_>>(), "{thread}");
    }
    assert_eq!((text.lines().count(), dropped(&registry, &path)), (8000, 0));
}

#[test]
fn a_sleeping_writer_wakes_for_every_line() {
    let (reader, pipe) = pipe().unwrap();
    let path = PathBuf::from(format!("/proc/self/fd/{}", pipe.as_raw_fd()));
    let (_, writer) = writer();
    let mut sender = writer.sender(&path).unwrap();
    let mut reader = io::BufReader::new(reader);
    for line in 0..200 {
        sender.send(format!("{line}\n").as_bytes());
        let mut read = String::new();
        io::BufRead::read_line(&mut reader, &mut read).unwrap();
        assert_eq!(read, format!("{line}\n"));
    }
}

#[test]
fn a_pipe_that_nobody_reads_holds_nobody() {
    let (mut reader, pipe) = pipe().unwrap();
    let path = PathBuf::from(format!("/proc/self/fd/{}", pipe.as_raw_fd()));
    let directory = Directory::new("blocked");
    let other = directory.path("other.log");
    let (registry, writer) = writer();
    let (mut blocked, mut fine) = (writer.sender(&path).unwrap(), writer.sender(&other).unwrap());
    let line = [&[b'x'; 1023][..], b"\n"].concat();
    let mut sent = 0u64;
    while dropped(&registry, &path) < 100 {
        sent += u64::from(blocked.send(&line));
        fine.send(b"other\n");
    }
    assert!(sent >= 256, "the ring is full");
    drop(pipe);
    let sender = thread::spawn(move || {
        // Until there is room again.
        while !blocked.send(b"last\n") {
            thread::yield_now();
        }
    });
    let mut text = Vec::new();
    let mut part = [0; 4096];
    while !text.ends_with(b"last\n") {
        let size = reader.read(&mut part).unwrap();
        text.extend_from_slice(&part[..size]);
    }
    sender.join().unwrap();
    writer.close(Duration::from_secs(60));
    let text = String::from_utf8(text).unwrap();
    assert!(text.lines().all(|line| line.len() == 1023 || line == "last"), "no line is torn");
    assert!(fs::read_to_string(&other).unwrap().lines().all(|line| line == "other"));
    assert!(fs::metadata(&other).unwrap().len() > 0, "other logs go on");
}

#[test]
fn shared_output_is_not_made_to_refuse_and_yet_does_not_block() {
    let (reader, pipe) = pipe().unwrap();
    let mut target = Target::of_shared(fs::File::from(std::os::fd::OwnedFd::from(pipe)));
    let mut written = 0;
    while let size @ 1.. = target.write(&[b'x'; 10_000]).unwrap() {
        written += size;
    }
    assert!(written >= 4096, "{written}");
    drop(reader);
    assert!(target.write(b"x").is_err(), "a reader that has gone is an error, not a wait");
}

fn attach(engine: &mut Engine, path: &Path) -> rtrb::Producer<u8> {
    let (producer, lines) = rtrb::RingBuffer::new(1024);
    engine.attach(Attachment { path: path.to_owned(), target: Target::open(path).unwrap(), lines });
    producer
}

#[test]
fn a_full_disk_keeps_what_was_taken_until_there_is_room() {
    let directory = Directory::new("full");
    let (path, real) = (directory.path("a.log"), directory.path("real"));
    symlink("/dev/full", &path).unwrap();
    let mut engine = Engine::default();
    let mut lines = attach(&mut engine, &path);
    lines.push_entire_slice(b"first\n").unwrap();
    assert_eq!((engine.round(), engine.round(), engine.is_idle()), (Round::Blocked, Round::Blocked, false));
    fs::remove_file(&path).unwrap();
    symlink(&real, &path).unwrap();
    engine.reopen();
    lines.push_entire_slice(b"second\n").unwrap();
    assert_eq!((engine.round(), engine.round()), (Round::Moved, Round::Idle));
    assert_eq!(fs::read_to_string(&real).unwrap(), "first\nsecond\n");
}

#[test]
fn reopening_follows_the_name() {
    let directory = Directory::new("rotate");
    let (path, old) = (directory.path("a.log"), directory.path("a.log.1"));
    let mut engine = Engine::default();
    let mut lines = attach(&mut engine, &path);
    lines.push_entire_slice(b"one\n").unwrap();
    engine.round();
    fs::rename(&path, &old).unwrap();
    lines.push_entire_slice(b"two\n").unwrap();
    engine.round();
    engine.reopen();
    lines.push_entire_slice(b"three\n").unwrap();
    engine.round();
    assert_eq!(
        (fs::read_to_string(&old).unwrap(), fs::read_to_string(&path).unwrap()),
        ("one\ntwo\n".into(), "three\n".into())
    );
    fs::remove_dir_all(&directory.0).unwrap();
    engine.reopen();
    lines.push_entire_slice(b"four\n").unwrap();
    assert_eq!(engine.round(), Round::Moved, "the old file is kept where there can be no new one");
    fs::create_dir(&directory.0).unwrap();
}

#[test]
fn threads_that_write_faster_than_the_disk_have_their_turn_each() {
    let (reader, pipe) = pipe().unwrap();
    let path = PathBuf::from(format!("/proc/self/fd/{}", pipe.as_raw_fd()));
    let mut engine = Engine::default();
    let mut senders: Vec<_> = (0..4)
        .map(|_| {
            let (producer, lines) = rtrb::RingBuffer::new(256 << 10);
            engine.attach(Attachment { path: path.clone(), target: Target::open(&path).unwrap(), lines });
            producer
        })
        .collect();
    let mut reader = io::BufReader::new(reader);
    let mut seen = [0; 4];
    let line = |sender: usize| [&[b'0' + u8::try_from(sender).unwrap()][..], &[b'-'; 4094], b"\n"].concat();
    for _ in 0..2000 {
        senders
            .iter_mut()
            .enumerate()
            .for_each(|(sender, lines)| while lines.push_entire_slice(&line(sender)).is_ok() {});
        engine.round();
        let mut read = String::new();
        io::BufRead::read_line(&mut reader, &mut read).unwrap();
        seen[usize::from(read.as_bytes()[0] - b'0')] += 1;
    }
    assert!(seen.iter().all(|count| *count > 300), "{seen:?}");
}

#[test]
fn logs_that_nobody_writes_to_are_closed() {
    let directory = Directory::new("closed");
    let mut engine = Engine::default();
    let mut lines = attach(&mut engine, &directory.path("a.log"));
    lines.push_entire_slice(b"last\n").unwrap();
    drop(lines);
    assert_eq!((engine.round(), engine.round(), engine.open()), (Round::Moved, Round::Idle, 0));
    assert_eq!(fs::read_to_string(directory.path("a.log")).unwrap(), "last\n");
}

#[test]
fn what_cannot_be_opened_is_an_error_and_no_wait() {
    let directory = Directory::new("fifo");
    let (_, writer) = writer();
    let fifo = directory.path("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    assert!(writer.sender(&fifo).is_err(), "a pipe without a reader");
    assert!(writer.sender(&directory.path("none/a.log")).is_err());
    assert!(writer.sender(&directory.0).is_err(), "a directory");
}

#[test]
fn closing_does_not_wait_for_a_reader_that_never_comes() {
    let (_reader, pipe) = pipe().unwrap();
    let path = PathBuf::from(format!("/proc/self/fd/{}", pipe.as_raw_fd()));
    let (registry, writer) = writer();
    let mut sender = writer.sender(&path).unwrap();
    while dropped(&registry, &path) == 0 {
        sender.send(&[b'x'; 1024]);
    }
    writer.close(Duration::from_millis(1));
    writer.close(Duration::from_millis(1));
}
