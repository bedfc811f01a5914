//! The `log` crate over the host's log.

use crate::hostcalls;
use log::{Level, LevelFilter, Log, Metadata, Record};

/// The host's number for errors.
pub(crate) const ERROR: u32 = 4;

struct Logger;

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = match record.level() {
            Level::Trace => 0,
            Level::Debug => 1,
            Level::Info => 2,
            Level::Warn => 3,
            Level::Error => ERROR,
        };
        match record.args().as_str() {
            Some(message) => hostcalls::log(level, message),
            None => hostcalls::log(level, &record.args().to_string()),
        }
    }

    fn flush(&self) {}
}

/// Installs the logger at the host's level, so that a line the host would drop is not even formatted.
pub(crate) fn install() {
    let level = match hostcalls::log_level() {
        Ok(0) => LevelFilter::Trace,
        Ok(1) => LevelFilter::Debug,
        Ok(2) | Err(_) => LevelFilter::Info,
        Ok(3) => LevelFilter::Warn,
        Ok(4 | 5) => LevelFilter::Error,
        Ok(_) => LevelFilter::Off,
    };
    // Fails only when it is installed already: a VM starts once for each plugin that shares it.
    let _ = log::set_logger(&Logger);
    log::set_max_level(level);
}
