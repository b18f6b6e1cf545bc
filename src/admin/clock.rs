//! Moments as text, in the four ways a log and a server need; all in UTC, Gregorian.

use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// From the epoch, a Thursday.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// A moment taken apart. What lies before 1970 is shown as its first instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    year: u64,
    /// 1 to 12.
    month: u64,
    day: u64,
    weekday: &'static str,
    hour: u64,
    minute: u64,
    second: u64,
    millis: u32,
}

impl Moment {
    pub fn new(time: SystemTime) -> Moment {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
        let (year, month, day) = civil(days);
        Moment {
            year,
            month,
            day,
            weekday: WEEKDAYS[(days % 7) as usize],
            hour: seconds / 3600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            millis: since.subsec_millis(),
        }
    }

    /// Appends `2026-11-21T04:05:06.789Z` (RFC 3339).
    pub fn rfc3339(self, out: &mut String) {
        // Writing to a `String` cannot fail, here and below.
        let _ = write!(out, "{:04}-{:02}-{:02}T", self.year, self.month, self.day);
        self.time(out);
        let _ = write!(out, ".{:03}Z", self.millis);
    }

    /// Appends `21/Nov/2026:04:05:06 +0000`, as in the common log format.
    pub fn common(self, out: &mut String) {
        let _ = write!(out, "{:02}/{}/{:04}:", self.day, self.month(), self.year);
        self.time(out);
        out.push_str(" +0000");
    }

    /// Appends `Sat, 21 Nov 2026 04:05:06 GMT` (RFC 9110 section 5.6.7).
    pub fn http(self, out: &mut String) {
        let _ = write!(out, "{}, {:02} {} ", self.weekday, self.day, self.month());
        let _ = write!(out, "{:04} ", self.year);
        self.time(out);
        out.push_str(" GMT");
    }

    /// Appends `04:05:06`.
    pub fn time(self, out: &mut String) {
        let _ = write!(out, "{:02}:{:02}:{:02}", self.hour, self.minute, self.second);
    }

    fn month(self) -> &'static str {
        MONTHS[(self.month - 1) as usize]
    }
}

/// Year, month and day so many days after 1970-01-01. Years are counted from March, so that the
/// leap day is the last of its year, in eras of 400 years, which all have as many days.
fn civil(days: u64) -> (u64, u64, u64) {
    const ERA: u64 = 146_097;
    let days = days + 719_468; // since 0000-03-01
    let (era, day) = (days / ERA, days % ERA);
    let year = (day - day / 1460 + day / 36_524 - day / (ERA - 1)) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153; // 0 is March
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

/// `2m5s`, `1h0m7s`, `3d0h0m1s`: from the greatest unit that is not zero down to seconds.
pub(super) fn uptime(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let seconds = seconds % 60;
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{seconds}s"),
        (0, _, _) => format!("{hours}h{minutes}m{seconds}s"),
        _ => format!("{days}d{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut String)) -> String {
        let mut out = String::new();
        write(&mut out);
        out
    }

    fn at(seconds: u64, millis: u64) -> Moment {
        Moment::new(UNIX_EPOCH + Duration::from_millis(seconds * 1000 + millis))
    }

    #[test]
    fn moments_are_written_as_the_formats_want_them() {
        let moment = at(1_795_234_506, 789);
        assert_eq!(text(|out| moment.rfc3339(out)), "2026-11-21T04:15:06.789Z");
        assert_eq!(text(|out| moment.common(out)), "21/Nov/2026:04:15:06 +0000");
        assert_eq!(text(|out| moment.http(out)), "Sat, 21 Nov 2026 04:15:06 GMT");
        let example = at(784_111_777, 0);
        assert_eq!(text(|out| example.http(out)), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(Moment::new(UNIX_EPOCH - Duration::from_secs(1)), at(0, 0));
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let lengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..400 * 366 {
            assert_eq!(civil(days), (year, month, day));
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            day += 1;
            if day > lengths[month as usize - 1] + u64::from(leap && month == 2) {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }

    #[test]
    fn uptime_tells_what_matters() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (125, "2m5s"),
            (120, "2m0s"),
            (3_907, "1h5m7s"),
            (90_000, "1d1h0m0s"),
        ] {
            assert_eq!(uptime(Duration::from_secs(seconds)), text);
        }
    }
}
