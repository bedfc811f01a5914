//! What `date` says in responses: written once a second.

use std::cell::RefCell;
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;

/// The text of the second in which it was last asked for.
#[derive(Default)]
pub(super) struct Date(RefCell<(Duration, String)>);

impl Date {
    /// Gives the text of a time to `user` (RFC 9110 section 5.6.7: `Sun, 06 Nov 1994 08:49:37 GMT`).
    pub(super) fn with<R>(&self, now: SystemTime, user: impl FnOnce(&str) -> R) -> R {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut known = self.0.borrow_mut();
        if known.1.is_empty() || known.0.as_secs() != since.as_secs() {
            *known = (since, written(since));
        }
        user(&known.1)
    }
}

fn written(since: Duration) -> String {
    let seconds = i64::try_from(since.as_secs()).unwrap_or(0);
    let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (weekday, month) = (at.weekday().to_string(), at.month().to_string());
    let (hour, minute, second) = at.to_hms();
    format!("{weekday:.3}, {:02} {month:.3} {:04} {hour:02}:{minute:02}:{second:02} GMT", at.day(), at.year())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_http_writes_it() {
        let date = Date::default();
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (u64::MAX / 4, "Thu, 01 Jan 1970 00:00:00 GMT"),
        ] {
            let now = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
            let now = now.unwrap_or(SystemTime::UNIX_EPOCH);
            assert_eq!(date.with(now, str::to_owned), text, "{seconds}");
        }
    }
}
