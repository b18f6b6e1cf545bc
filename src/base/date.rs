//! Moments as text, in the three forms that messages and logs need; all in UTC, Gregorian.
//!
//! `httpdate` would write one of them and needs the calendar for it just as well.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// From the epoch, a Thursday.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// A moment taken apart. What lies before 1970 is shown as its first instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
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

impl Date {
    /// The date of a moment.
    pub fn of(time: SystemTime) -> Date {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Date { millis: since.subsec_millis(), ..Date::of_second(since.as_secs()) }
    }

    /// The date so many seconds after the epoch.
    pub fn of_second(unix_s: u64) -> Date {
        let (days, seconds) = (unix_s / 86_400, unix_s % 86_400);
        let (year, month, day) = civil(days);
        Date {
            year,
            month,
            day,
            weekday: WEEKDAYS[(days % 7) as usize],
            hour: seconds / 3600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            millis: 0,
        }
    }

    /// Appends `2026-11-21T04:05:06.789Z` (RFC 3339).
    pub fn rfc3339(self, out: &mut String) {
        // Writing to a `String` cannot fail, here and below.
        let _ = write!(out, "{:04}-{:02}-{:02}T", self.year, self.month, self.day);
        let _ = write!(out, "{:02}:{:02}:{:02}", self.hour, self.minute, self.second);
        let _ = write!(out, ".{:03}Z", self.millis);
    }

    /// Appends `21/Nov/2026:04:05:06 +0000`, as in the common log format.
    pub fn common(self, out: &mut String) {
        let _ = write!(out, "{:02}/{}/{:04}:", self.day, self.month(), self.year);
        let _ = write!(out, "{:02}:{:02}:{:02} +0000", self.hour, self.minute, self.second);
    }

    fn month(self) -> &'static str {
        MONTHS[(self.month - 1) as usize]
    }
}

/// The moment `unix_s` seconds after the epoch as an IMF-fixdate (RFC 9110 section 5.6.7):
/// `Sun, 06 Nov 1994 08:49:37 GMT`. Good until the end of the year 9999.
pub fn imf_fixdate(unix_s: u64) -> [u8; 29] {
    let date = Date::of_second(unix_s);
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    text[..3].copy_from_slice(date.weekday.as_bytes());
    text[8..11].copy_from_slice(date.month().as_bytes());
    let numbers = [
        (5, date.day),
        (12, date.year / 100),
        (14, date.year),
        (17, date.hour),
        (20, date.minute),
        (23, date.second),
    ];
    for (at, number) in numbers {
        text[at] = b'0' + (number / 10 % 10) as u8;
        text[at + 1] = b'0' + (number % 10) as u8;
    }
    text
}

/// Year, month (1 to 12) and day so many days after 1970-01-01. Years are counted from March, so that the leap day is
/// the last of its year, in eras of 400 years, which all have as many days.
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn text(write: impl FnOnce(&mut String)) -> String {
        let mut out = String::new();
        write(&mut out);
        out
    }

    #[test]
    fn moments_are_written_as_the_formats_want_them() {
        let date = Date::of(UNIX_EPOCH + Duration::from_millis(1_795_234_506_789));
        assert_eq!(text(|out| date.rfc3339(out)), "2026-11-21T04:15:06.789Z");
        assert_eq!(text(|out| date.common(out)), "21/Nov/2026:04:15:06 +0000");
        assert_eq!(Date::of(UNIX_EPOCH - Duration::from_secs(1)), Date::of_second(0));
    }

    #[test]
    fn dates_of_messages() {
        for (unix_s, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
            (1_795_219_200, "Sat, 21 Nov 2026 00:00:00 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(std::str::from_utf8(&imf_fixdate(unix_s)), Ok(expected));
        }
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
}
