//! What filters logged, per thread, so that parallel tests do not read each other's lines.

use log::{Level, LevelFilter, Log, Metadata, Record};
use std::cell::RefCell;

/// The log of the current thread.
#[derive(Debug)]
pub struct RecordedLogs;

struct Logger;

thread_local! {
    static LINES: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
}

impl RecordedLogs {
    /// Starts recording, for the whole process. A logger that a program installed before stays in its place.
    pub fn install() {
        if log::set_logger(&Logger).is_ok() {
            log::set_max_level(LevelFilter::Debug);
        }
    }

    /// Takes the lines logged on this thread since the last call.
    pub fn take() -> Vec<(Level, String)> {
        LINES.with_borrow_mut(std::mem::take)
    }
}

impl Log for Logger {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        LINES.with_borrow_mut(|lines| lines.push((record.level(), record.args().to_string())));
    }

    fn flush(&self) {}
}
