//! One entry of the audit log as one line: an object in JSON, whatever the client put in it.

use std::fmt::Write;

use super::line::string;
use crate::base::Date;
use crate::stats::{AuditEvent, AuditRecord};

/// Appends `record` as a line.
pub fn write(record: &AuditRecord, out: &mut String) {
    out.push_str("{\"time\":\"");
    Date::of(record.time).rfc3339(out);
    out.push('"');
    match &record.event {
        AuditEvent::Credentials { id, client, route, who, method, host, path, reason, detail } => {
            string(out, "event", Some("credentials_refused"));
            string(out, "request_id", Some(id));
            string(out, "client", client.map(|client| client.to_string()).as_deref());
            string(out, "route", Some(route));
            string(out, "auth", (!who.is_empty()).then_some(who));
            string(out, "method", Some(method));
            string(out, "host", Some(host));
            string(out, "path", Some(path));
            string(out, "reason", Some(reason));
            string(out, "detail", (!detail.is_empty()).then_some(detail));
        }
        AuditEvent::Change { what, by, refused } => {
            string(out, "event", Some("change"));
            string(out, "change", Some(what));
            string(out, "by", Some(by));
            let _ = write!(out, ",\"done\":{}", refused.is_none());
            string(out, "refused", refused.as_deref());
        }
        AuditEvent::Look { path, by, refused } => {
            string(out, "event", Some("look_refused"));
            string(out, "path", Some(path));
            string(out, "by", Some(by));
            string(out, "refused", Some(refused));
        }
    }
    out.push_str("}\n");
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn entries_are_lines_of_json() {
        let line = |event| {
            let mut out = String::new();
            write(&AuditRecord { time: UNIX_EPOCH, event }, &mut out);
            assert_eq!(out.matches('\n').count(), 1, "{out}");
            serde_json::from_str::<serde_json::Value>(&out).unwrap()
        };
        let refused = line(AuditEvent::Credentials {
            id: "7".into(),
            client: Some([192, 0, 2, 1].into()),
            route: "api".into(),
            who: "".into(),
            method: "GET".into(),
            host: "a\r\nb".into(),
            path: "/\"".into(),
            reason: "bad_credentials",
            detail: "expired",
        });
        assert_eq!(refused["event"], "credentials_refused");
        assert_eq!((&refused["client"], &refused["host"]), (&"192.0.2.1".into(), &"a\r\nb".into()));
        assert!(refused["auth"].is_null() && refused["detail"] == "expired");
        let (what, by) = ("add http://a:1".into(), "ops".into());
        let change = line(AuditEvent::Change { what, by, refused: Some("it is there".into()) });
        assert_eq!((&change["done"], &change["by"]), (&false.into(), &"ops".into()));
        let [path, by, refused] = ["/status\n", "nobody", "no"].map(str::to_owned);
        let look = line(AuditEvent::Look { path, by, refused });
        assert_eq!((&look["event"], &look["path"]), (&"look_refused".into(), &"/status\n".into()));
    }
}
