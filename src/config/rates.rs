//! Limits: from what is given in `[limit.NAME]` to what they are.

use std::time::Duration;

use super::diagnostics::{Diagnostic, instead, unclear, wrong};
use super::file::Section;
use super::gate::{LimitKey, LimitSpec};
use super::settings::Settings;
use super::values;
use crate::base::digits;

/// Requests of a limit.
const MOST_REQUESTS: u64 = 1_000_000_000;

impl Settings<'_> {
    /// What `section` says of how often.
    pub(super) fn rate(&mut self, section: &Section) -> LimitSpec {
        let given = self.one("limit-rate", rate);
        if given.is_none() && !self.is_given("limit-rate") {
            self.mistake(section, wrong("this limit has no rate", "write rate = \"20/s\""));
        }
        let (requests, window) = given.unwrap_or((1, Duration::from_secs(1)));
        let _ = self.one("limit-window", |text| values::choice(&[("sliding", ())], text));
        let burst = self.number_here("limit-burst").map(|burst| burst as u32);
        if burst.is_some() && self.is_given("limit-window") {
            let given = self.given("limit-window").remove(0);
            let what = "a limit with a burst is a token bucket, and has no window";
            self.refuse(&given, 0..given.text.len(), wrong(what, "leave one of the two out"));
        }
        LimitSpec {
            name: section.name.as_str().into(),
            requests,
            window,
            burst,
            by: self.one("limit-by", limit_key).unwrap_or(LimitKey::Client),
            keys: self.number_here("limit-keys").unwrap_or(1) as usize,
            dry_run: self.one("limit-dry-run", values::switch).unwrap_or(false),
        }
    }
}

/// `20/s`, `600/m`, `1000/h`: so many in so long a time.
pub(super) fn rate(text: &str) -> Result<(u32, Duration), Diagnostic> {
    let (count, unit) = match text.split_once('/') {
        Some((count, unit)) => (count.trim(), unit.trim()),
        None => return Err(instead("a rate says in what time", [format!("{text}/s")])),
    };
    let window = match unit {
        "s" | "sec" | "second" => 1,
        "m" | "min" | "minute" => 60,
        "h" | "hour" => 3600,
        "d" | "day" => 86_400,
        _ => return Err(other_window(count, unit)),
    };
    match digits(count) {
        Some(0) => Err(wrong("nobody would be let through", "use deny, or a route of its own")),
        Some(count) if count <= MOST_REQUESTS => Ok((count as u32, Duration::from_secs(window))),
        _ => Err(unclear("before the slash stands a number of requests")),
    }
}

/// `5/10s`: a window of another length. Offered is the same rate over the next longer one.
fn other_window(count: &str, unit: &str) -> Diagnostic {
    const UNITS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];
    let what = "behind the slash stands s, m, h or d";
    let same_rate = || {
        let split = unit.find(|c: char| !c.is_ascii_digit())?;
        let (length, unit) = unit.split_at(split);
        let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let (count, window) = (digits(count)?, digits(length)?.checked_mul(*seconds)?);
        UNITS.iter().find_map(|(name, seconds)| {
            let requests = count.checked_mul(*seconds)?;
            let is_same = window > 0 && *seconds >= window && requests.is_multiple_of(window);
            is_same.then(|| format!("{}/{name}", requests / window))
        })
    };
    match same_rate() {
        Some(rate) if rate.starts_with(&format!("{count}/")) => instead(what, [rate]),
        Some(rate) => {
            let more = format!(", with a burst of {count} if no more may come at once");
            instead(what, [rate]).and(more)
        }
        None => unclear(what),
    }
}

/// As it would be written.
pub(super) fn rate_of(limit: &LimitSpec) -> String {
    let unit = match limit.window.as_secs() {
        60 => "m",
        3600 => "h",
        86_400 => "d",
        _ => "s",
    };
    format!("{}/{unit}", limit.requests)
}

fn limit_key(text: &str) -> Result<LimitKey, Diagnostic> {
    if let Some(name) = text.strip_prefix("header:") {
        return values::any_field(name).map(LimitKey::Header);
    }
    Ok(match text {
        "client" => LimitKey::Client,
        "token" => LimitKey::Token,
        "user" => LimitKey::User,
        "host" => LimitKey::Host,
        "route" => LimitKey::Route,
        "all" => LimitKey::All,
        "ip" | "source" | "client-ip" | "remote-addr" => {
            return Err(instead("this is called otherwise here", ["client"]));
        }
        "global" | "none" => return Err(instead("this is called otherwise here", ["all"])),
        _ => return Err(unclear("this is nothing that requests are counted by")),
    })
}
