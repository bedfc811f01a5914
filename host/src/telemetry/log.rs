//! What the process logs about itself and for its guests: lines of text or JSON on standard error, through the writer
//! that holds nobody, with levels that can be changed while it runs.

use crate::telemetry::log_writer::{LineSender, LogWriter};
use crate::wasm::LogLevel;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry, fmt as format, reload};

/// Targets whose level is the general one: the proxy's parts, its guests (`wasm`), its logs. Libraries say no more than
/// warnings unless they are named.
const OWN: [&str; 5] = ["admin", "host", "log", "outrigger", "wasm"];

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LogStyle {
    /// Text.
    #[default]
    Text,
    /// JSON objects.
    Json,
}

/// Why levels are not what was asked for.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LevelError {
    /// No level.
    #[error("{0:?} is not a level: expected trace, debug, info, warn, error or off")]
    Level(String),
    /// No target.
    #[error("{0:?} is not a target: expected a module path such as wasm or host::router")]
    Target(String),
    /// The log has not been started, or has ended.
    #[error("there is no log")]
    NoLog,
}

/// The level of everything, and of what is named.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogLevels {
    general: LevelFilter,
    targets: BTreeMap<String, LevelFilter>,
}

impl Default for LogLevels {
    fn default() -> Self {
        Self { general: LevelFilter::INFO, targets: BTreeMap::new() }
    }
}

impl FromStr for LogLevels {
    type Err = LevelError;

    /// Reads `info,wasm=debug,host::router=trace`.
    fn from_str(text: &str) -> Result<Self, LevelError> {
        let mut levels = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                Some((target, level)) => levels.set(target, level)?,
                None => levels.set_general(part)?,
            }
        }
        Ok(levels)
    }
}

impl LogLevels {
    fn set(&mut self, target: &str, level: &str) -> Result<(), LevelError> {
        let valid = |c: char| c.is_ascii_alphanumeric() || "_:-.".contains(c);
        if target.is_empty() || target.len() > 128 || !target.chars().all(valid) {
            return Err(LevelError::Target(target.to_owned()));
        }
        self.targets.insert(target.to_owned(), read_level(level)?);
        Ok(())
    }

    fn set_general(&mut self, level: &str) -> Result<(), LevelError> {
        self.general = read_level(level)?;
        self.targets.clear();
        Ok(())
    }

    fn filter(&self) -> Targets {
        let own = OWN.iter().map(|target| ((*target).to_owned(), self.general));
        let named = self.targets.iter().map(|(target, level)| (target.clone(), *level));
        Targets::new().with_default(self.general.min(LevelFilter::WARN)).with_targets(own.chain(named))
    }
}

/// A line for each: `target: level`.
impl fmt::Display for LogLevels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = OWN.iter().filter(|target| !self.targets.contains_key(**target));
        let mut lines: Vec<(&str, LevelFilter)> = own.map(|target| (*target, self.general)).collect();
        lines.extend(self.targets.iter().map(|(target, level)| (target.as_str(), *level)));
        lines.sort();
        lines.iter().try_for_each(|(target, level)| writeln!(f, "{target}: {level}"))
    }
}

/// A level by name; those of Envoy as well.
fn read_level(text: &str) -> Result<LevelFilter, LevelError> {
    match text.to_ascii_lowercase().as_str() {
        "trace" => Ok(LevelFilter::TRACE),
        "debug" => Ok(LevelFilter::DEBUG),
        "info" => Ok(LevelFilter::INFO),
        "warn" | "warning" => Ok(LevelFilter::WARN),
        "error" | "critical" => Ok(LevelFilter::ERROR),
        "off" => Ok(LevelFilter::OFF),
        _ => Err(LevelError::Level(text.to_owned())),
    }
}

/// Changes levels while the process runs. Clones change the same ones.
#[derive(Clone)]
pub struct LogControl {
    levels: Arc<Mutex<LogLevels>>,
    filter: reload::Handle<Targets, Registry>,
}

impl LogControl {
    /// The levels.
    pub fn levels(&self) -> LogLevels {
        self.levels.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes several changes in order, of targets or (`None`) of everything; all of them, or none.
    ///
    /// # Errors
    /// Every target and level that is none.
    pub fn apply(&self, changes: &[(Option<&str>, &str)]) -> Result<(), Vec<LevelError>> {
        let mut kept = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        let mut levels = kept.clone();
        let changed = changes.iter().map(|(target, level)| match target {
            Some(target) => levels.set(target, level),
            None => levels.set_general(level),
        });
        let errors: Vec<LevelError> = changed.filter_map(Result::err).collect();
        if !errors.is_empty() {
            return Err(errors);
        }
        self.filter.reload(levels.filter()).map_err(|_| vec![LevelError::NoLog])?;
        *kept = levels;
        Ok(())
    }
}

/// What takes the process's log lines, and what changes their levels.
pub fn process_log(
    writer: LogWriter,
    path: &Path,
    style: LogStyle,
    levels: LogLevels,
) -> (impl Subscriber + for<'a> LookupSpan<'a> + Send + Sync, LogControl) {
    let (filter, handle) = reload::Layer::new(levels.filter());
    let lines = ProcessWriter(Arc::new((writer, path.to_owned())));
    let layer = format::layer().with_ansi(false).with_writer(lines);
    let layer = match style {
        LogStyle::Text => layer.boxed(),
        LogStyle::Json => layer.json().flatten_event(true).with_current_span(false).boxed(),
    };
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter));
    (subscriber, LogControl { levels: Arc::new(Mutex::new(levels)), filter: handle })
}

/// Where the lines of every thread go.
struct ProcessWriter(Arc<(LogWriter, PathBuf)>);

/// A thread's way there.
struct Way {
    to: Arc<(LogWriter, PathBuf)>,
    sender: LineSender,
}

thread_local! {
    static WAY: RefCell<Option<Way>> = const { RefCell::new(None) };
}

impl<'w> MakeWriter<'w> for ProcessWriter {
    type Writer = LineWriter<'w>;

    fn make_writer(&'w self) -> LineWriter<'w> {
        LineWriter(&self.0)
    }
}

/// Takes one line at a time.
struct LineWriter<'w>(&'w Arc<(LogWriter, PathBuf)>);

impl io::Write for LineWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // A thread that is ending, or a line about the opening of the log itself, has no way.
        let _ = WAY.try_with(|way| {
            if let Ok(mut way) = way.try_borrow_mut() {
                send(&mut way, self.0, line);
            }
        });
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn send(way: &mut Option<Way>, to: &Arc<(LogWriter, PathBuf)>, line: &[u8]) {
    if way.as_ref().is_none_or(|way| !Arc::ptr_eq(&way.to, to)) {
        let opened = to.0.sender(&to.1);
        *way = opened.ok().map(|sender| Way { to: to.clone(), sender });
    }
    if let Some(way) = way {
        way.sender.send(&one_line(line));
    }
}

/// The line, and nothing in it that would begin another: whoever's words are logged, a guest's or a client's.
fn one_line(line: &[u8]) -> Cow<'_, [u8]> {
    let body = line.strip_suffix(b"\n").unwrap_or(line);
    if line.len() > body.len() && !body.iter().any(u8::is_ascii_control) {
        return Cow::Borrowed(line);
    }
    let mut out = String::with_capacity(line.len() + 16);
    for c in String::from_utf8_lossy(body).chars() {
        match c {
            c if c.is_ascii_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out.push('\n');
    Cow::Owned(out.into_bytes())
}

/// Logs a line of a guest.
pub fn log_guest(level: LogLevel, plugin: &str, line: &str) {
    match level {
        LogLevel::Trace => tracing::trace!(target: "wasm", plugin, "{line}"),
        LogLevel::Debug => tracing::debug!(target: "wasm", plugin, "{line}"),
        LogLevel::Info => tracing::info!(target: "wasm", plugin, "{line}"),
        LogLevel::Warn => tracing::warn!(target: "wasm", plugin, "{line}"),
        LogLevel::Error | LogLevel::Critical => tracing::error!(target: "wasm", plugin, "{line}"),
    }
}

/// The least level whose lines are wanted of guests.
pub fn guest_log_level() -> LogLevel {
    use tracing::{Level, enabled};
    match () {
        () if enabled!(target: "wasm", Level::TRACE) => LogLevel::Trace,
        () if enabled!(target: "wasm", Level::DEBUG) => LogLevel::Debug,
        () if enabled!(target: "wasm", Level::INFO) => LogLevel::Info,
        () if enabled!(target: "wasm", Level::WARN) => LogLevel::Warn,
        () if enabled!(target: "wasm", Level::ERROR) => LogLevel::Error,
        () => LogLevel::Critical,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Registry as Metrics;
    use std::time::Duration;
    use tracing::subscriber::with_default;

    /// What is logged to a file while something runs.
    fn logged(name: &str, style: LogStyle, levels: &str, run: impl FnOnce(&LogControl)) -> String {
        let path = std::env::temp_dir().join(format!("outrigger-process-{}-{name}.log", std::process::id()));
        let writer = LogWriter::start(&Metrics::for_threads(1)).unwrap();
        let (subscriber, control) = process_log(writer.clone(), &path, style, levels.parse().unwrap());
        with_default(subscriber, || run(&control));
        writer.close(Duration::from_secs(60));
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let _ = std::fs::remove_file(&path);
        text
    }

    #[test]
    fn a_line_has_level_target_and_fields() {
        let text = logged("text", LogStyle::Text, "", |_| {
            tracing::info!(target: "host::reload", files = 3, "configuration accepted");
            tracing::debug!(target: "host::reload", "not wanted");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.ends_with("INFO host::reload: configuration accepted files=3\n"), "{text}");
    }

    #[test]
    fn json_lines_are_objects() {
        let text = logged("json", LogStyle::Json, "", |_| log_guest(LogLevel::Warn, "authz", "say \"hi\"\n2026 ERROR"));
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(text.lines().count(), 1);
        let fields = ["level", "target", "plugin", "message"].map(|name| read[name].as_str().unwrap_or_default());
        assert_eq!(fields, ["WARN", "wasm", "authz", "say \"hi\"\n2026 ERROR"]);
    }

    #[test]
    fn guests_cannot_forge_lines() {
        let text = logged("forge", LogStyle::Text, "", |_| {
            log_guest(LogLevel::Info, "evil", "one\r\n2026-11-22T08:34:00Z ERROR host: forged\x1b[31m");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("one\\r\\n2026") && !text.contains('\x1b'), "{text}");
    }

    #[test]
    fn levels_change_at_run_time() {
        let text = logged("levels", LogStyle::Text, "warn,wasm=debug", |control| {
            let say = |step: u32| {
                tracing::info!(target: "host::a", step, "info");
                tracing::debug!(target: "wasm", step, "debug");
                tracing::info!(target: "h2::codec", step, "library");
            };
            say(1);
            control.apply(&[(None, "info")]).unwrap();
            say(2);
            control.apply(&[(Some("h2"), "trace"), (Some("host::a"), "off")]).unwrap();
            say(3);
            control.apply(&[(None, "off")]).unwrap();
            say(4);
        });
        let said: Vec<_> =
            text.lines().filter_map(|line| line.split_whitespace().nth(2).zip(line.split('=').nth(1))).collect();
        assert_eq!(said, [("wasm:", "1"), ("host::a:", "2"), ("h2::codec:", "3")]);
    }

    #[test]
    fn the_least_level_of_guests_follows() {
        logged("guests", LogStyle::Text, "", |control| {
            let rows = [
                ("trace", LogLevel::Trace),
                ("debug", LogLevel::Debug),
                ("warning", LogLevel::Warn),
                ("off", LogLevel::Critical),
            ];
            assert_eq!(guest_log_level(), LogLevel::Info);
            for (level, wanted) in rows {
                control.apply(&[(Some("wasm"), level)]).unwrap();
                assert_eq!(guest_log_level(), wanted);
            }
        });
    }

    #[test]
    fn what_is_no_level_changes_nothing() {
        logged("faulty", LogStyle::Text, "", |control| {
            control.apply(&[(Some("wasm"), "debug")]).unwrap();
            let before = control.levels();
            let changes = [(None, "loud"), (Some("host"), "trace"), (Some("a b"), "info"), (Some(""), "info")];
            let refused: Vec<_> = control.apply(&changes).unwrap_err().iter().map(ToString::to_string).collect();
            assert_eq!(refused.len(), 3);
            assert_eq!(refused[0], "\"loud\" is not a level: expected trace, debug, info, warn, error or off");
            assert_eq!(control.levels(), before);
            assert_eq!(before.to_string(), "admin: info\nhost: info\nlog: info\noutrigger: info\nwasm: debug\n");
        });
        assert!("info,wasm=loud".parse::<LogLevels>().is_err());
    }

    #[test]
    fn every_thread_has_its_way() {
        let text = logged("threads", LogStyle::Text, "", |_| {
            let dispatch = tracing::dispatcher::get_default(Clone::clone);
            std::thread::scope(|scope| {
                for thread in 0..3 {
                    let dispatch = dispatch.clone();
                    scope.spawn(move || {
                        tracing::dispatcher::with_default(&dispatch, || {
                            (0..100).for_each(|line| tracing::info!(target: "host", thread, line, "said"));
                        });
                    });
                }
            });
        });
        assert_eq!(text.lines().filter(|line| line.contains("said thread=")).count(), 300);
    }

    #[test]
    fn one_line_is_one_line() {
        let rows: [(&[u8], &str); 5] = [
            (b"plain\n", "plain\n"),
            (b"no end", "no end\n"),
            (b"two\nlines\n", "two\\nlines\n"),
            (b"\xff\t\0\n", "\u{fffd}\\t\\u{0}\n"),
            (b"", "\n"),
        ];
        for (line, wanted) in rows {
            assert_eq!(String::from_utf8_lossy(&one_line(line)), wanted);
        }
    }
}
