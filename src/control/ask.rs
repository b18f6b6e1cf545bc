//! Commands to a tidegate that runs: asked over its admin, answered by its control plane.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, UNIX_EPOCH};

use async_io::Timer;
use serde_json::{Value, json};

use crate::base::Date;
use crate::client::{self, Answer, ClientSecurity, Question};
use crate::config::{AdminAddress, Listen, Look, Order, UpstreamOrder};
use crate::http::Method;
use crate::io::address::Address;
use crate::process::console;

/// How long an answer may take; the running one gives up sooner, and says so.
const PATIENCE: Duration = Duration::from_secs(40);
/// The largest body of an answer that is taken, in octets.
const BODY_MOST: usize = 16 * 1024 * 1024;
/// How often `top` shows it again.
const TOP: Duration = Duration::from_secs(1);

/// Has the tidegate whose admin listens at `admin` carry `order` out. What it says of that, for standard output.
///
/// # Errors
/// When it cannot be asked, or says no: in its words, for standard error.
pub fn ask(admin: &AdminAddress, order: &Order) -> Result<String, String> {
    let (target, body) = match order {
        Order::Reload => ("/reload".to_owned(), json!({})),
        Order::Upgrade => ("/upgrade".to_owned(), json!({})),
        Order::Upstream(UpstreamOrder { verb, url, pool, weight }) => {
            let mut body = json!({ "url": url });
            pool.iter().for_each(|pool| body["pool"] = json!(pool));
            weight.iter().for_each(|weight| body["weight"] = json!(weight));
            (format!("/{}", verb.word()), body)
        }
    };
    let Answer { status, body, .. } = question(admin, Method::Post, &target, &body.to_string())?;
    let page = serde_json::from_slice(&body).unwrap_or(Value::Null);
    match order {
        _ if status != 200 => Err(refused(status, &page)),
        Order::Reload => Ok(reloaded(&page)),
        Order::Upstream(_) => Ok(upstreams(&page)),
        Order::Upgrade => Ok(format!("handed over to the new process, {}\n", page["pid"])),
    }
}

/// Shows the tidegate whose admin listens at `admin`; gives the exit code.
pub fn look(admin: &AdminAddress, look: Look) -> u8 {
    let ask = |target: &str| {
        let Answer { status, body, .. } = question(admin, Method::Get, target, "")?;
        let page = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Ok::<_, String>((status, page))
    };
    let shown = || match ask("/status")? {
        (200, page) => Ok(status(&page)),
        (status, page) => Err(refused(status, &page)),
    };
    match look {
        Look::Status => console::tell(shown()),
        Look::Health => console::tell(ask("/ready").and_then(|(status, page)| match status {
            200 => Ok("ready\n".to_owned()),
            _ => {
                let phase = page["status"].as_str().unwrap_or("not ready").to_ascii_lowercase();
                Err(format!("tidegate: not ready: {phase}\n"))
            }
        })),
        Look::Top => loop {
            // Home, then what is there is overwritten line by line, and the rest of the screen cleared.
            let page =
                shown().map(|text| format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n")));
            let code = console::tell(page);
            if code != 0 {
                return code;
            }
            smol::block_on(Timer::after(TOP));
        },
    }
}

/// The process and its upstreams, a line each.
fn status(page: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let totals = &page["totals"];
    let mut text = format!(
        "{} for {}, pid {}, {} workers, version {}\n{} connections, {} active, {} tunnels, {} requests, {} errors\n",
        word(&page["state"]),
        word(&page["uptime"]),
        page["pid"],
        page["workers"],
        word(&page["version"]),
        totals["connections"],
        totals["active"],
        totals["tunnels"],
        totals["requests"],
        totals["errors"],
    );
    for listener in page["listeners"].as_array().into_iter().flatten() {
        text.push_str(&format!("listens on {}\n", word(listener)));
    }
    text.push_str(&format!(
        "{:<10} {:>6} {:>7} {:>9} {:>9}  {:<12} upstream\n",
        "state", "weight", "active", "requests", "failures", "pool"
    ));
    for one in page["upstreams"].as_array().into_iter().flatten() {
        text.push_str(&format!(
            "{:<10} {:>6} {:>7} {:>9} {:>9}  {:<12} {}\n",
            word(&one["state"]),
            one["weight"].to_string(),
            one["current_connections"].to_string(),
            one["requests"].to_string(),
            one["failures"].to_string(),
            word(&one["pool"]),
            word(&one["url"]),
        ));
        if one["state"] == "down" {
            text.push_str(&format!("{:<10} {}\n", "", why_down(one)));
        }
    }
    text.extend(page["acme"].as_array().into_iter().flatten().filter_map(why_not_issued));
    text
}

/// Why the last order of a certificate failed, and when the next one is; `None`: it did not.
fn why_not_issued(orders: &Value) -> Option<String> {
    let error = orders["last_error"]["text"].as_str()?;
    let name = orders["name"].as_str()?;
    let mut line = format!("no certificate was issued for {name}: {error}; next order ");
    let next = orders["next_order_at"].as_u64().map(Duration::from_secs);
    match next.and_then(|next| UNIX_EPOCH.checked_add(next)) {
        Some(next) => Date::of(next).rfc3339(&mut line),
        None => line.push_str("now"),
    }
    Some(line + "\n")
}

/// Since when an upstream is down, and why.
fn why_down(upstream: &Value) -> String {
    let mut words = "down".to_owned();
    let since = upstream["since"].as_u64().map(Duration::from_secs);
    if let Some(since) = since.and_then(|since| UNIX_EPOCH.checked_add(since)) {
        words.push_str(" since ");
        Date::of(since).rfc3339(&mut words);
    }
    let error = &upstream["last_error"];
    if let (Some(reason), Some(text)) = (error["reason"].as_str(), error["text"].as_str()) {
        words.push_str(&format!(", {reason}: {text}"));
    }
    words
}

/// Asks the admin at `admin`.
///
/// # Errors
/// When there is none, or nobody answers.
fn question(
    AdminAddress { listen, token }: &AdminAddress,
    method: Method,
    target: &str,
    body: &str,
) -> Result<Answer, String> {
    let Some(admin) = listen else {
        return Err(
            "tidegate: the admin is off, so nothing can be asked; a signal can reload (SIGHUP)\n"
                .into(),
        );
    };
    let Some(address) = reachable(admin) else {
        return Err(format!(
            "tidegate: --admin {admin} names no port: write the one that it listens on\n"
        ));
    };
    let fields = token
        .as_ref()
        .map_or_else(String::new, |token| format!("Authorization: Bearer {}\r\n", &**token));
    let fields = fields.as_bytes();
    let question =
        Question { method, target, host: "localhost", fields, body, content_type: client::JSON };
    let asking = client::ask(&address, &ClientSecurity::Plain, question, BODY_MOST, PATIENCE);
    smol::block_on(asking).map_err(|error| {
        let what = format!("tidegate: nobody answers at --admin {admin}: {error}");
        format!("{what}\n    is it running, and is that its admin?\n")
    })
}

/// Where to connect to for `admin`; `None`: any port will do there, so none can be found.
fn reachable(admin: &Listen) -> Option<Address> {
    match admin {
        Listen::Any(0) => None,
        Listen::Any(port) => Some(Address::Tcp((Ipv4Addr::LOCALHOST, *port).into())),
        Listen::Tcp(address) if address.port() == 0 => None,
        Listen::Tcp(address) => {
            let ip = match address.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
                ip => ip,
            };
            Some(Address::Tcp(SocketAddr::new(ip, address.port())))
        }
        Listen::Unix(path) => Some(Address::Unix(path.as_path().into())),
    }
}

/// The resulting state in words.
fn reloaded(page: &Value) -> String {
    let lines = |key: &str, lead: &str| -> String {
        let lines = page[key].as_array().into_iter().flatten().filter_map(Value::as_str);
        lines.map(|line| format!("{lead}{line}\n")).collect()
    };
    let changed = lines("changed", "  ");
    let head = if changed.is_empty() { "reloaded; nothing has changed\n" } else { "reloaded\n" };
    let later = lines("needs_new_process", "not in force until a new process begins: ");
    format!("{head}{changed}{later}{}", lines("warnings", "warning: "))
}

/// Every upstream there is now.
fn upstreams(page: &Value) -> String {
    let head = match (page["changed"] == true, page["kept"] == true) {
        (false, _) => "nothing to change\n",
        (true, true) => "changed\n",
        (true, false) => "changed, until the process ends: with --state DIR changes are kept\n",
    };
    let upstreams = || page["upstreams"].as_array().into_iter().flatten();
    let several = upstreams().any(|one| one["pool"] != page["upstreams"][0]["pool"]);
    let lines = upstreams().map(|upstream| {
        let text = |key: &str| upstream[key].as_str().unwrap_or_default();
        let pool = if several { format!("{}: ", text("pool")) } else { String::new() };
        let weight = match upstream["weight"].as_u64() {
            None | Some(1) => String::new(),
            Some(weight) => format!("  weight={weight}"),
        };
        let draining = if upstream["draining"] == true { "  draining" } else { "" };
        format!("  {pool}{}{weight}{draining}\n", text("url"))
    });
    head.to_owned() + &lines.collect::<String>()
}

/// The server's words.
fn refused(status: u16, page: &Value) -> String {
    let error = &page["error"];
    let text = error["text"].as_str().unwrap_or_default();
    match error["message"].as_str() {
        Some(message) => format!("{text}tidegate: {message}\n"),
        None => {
            format!("tidegate: the admin answered with status {status}, which is not one of ours\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admin_that_listens_everywhere_is_reached_here() {
        for (admin, reached) in [
            (Listen::Any(1), Some(Address::Tcp(([127, 0, 0, 1], 1).into()))),
            (Listen::Tcp(([0, 0, 0, 0], 2).into()), Some(Address::Tcp(([127, 0, 0, 1], 2).into()))),
            (Listen::Tcp(([10, 0, 0, 1], 2).into()), Some(Address::Tcp(([10, 0, 0, 1], 2).into()))),
            (Listen::Unix("/a".into()), Some(Address::Unix(std::path::Path::new("/a").into()))),
            (Listen::Any(0), None),
            (Listen::Tcp(([127, 0, 0, 1], 0).into()), None),
        ] {
            assert_eq!(reachable(&admin), reached, "{admin}");
        }
    }

    #[test]
    fn what_is_down_says_since_when_and_why() {
        let error = json!({ "at": 3, "reason": "wrong_status", "text": "status 503" });
        for (one, words) in [
            (json!({}), "down"),
            (json!({ "since": 60, "last_error": null }), "down since 1970-01-01T00:01:00.000Z"),
            (json!({ "since": null, "last_error": error }), "down, wrong_status: status 503"),
        ] {
            assert_eq!(why_down(&one), words);
        }
        let upstreams = json!([{ "state": "up", "url": "u" }, { "state": "down", "url": "d" }]);
        let text = status(&json!({ "upstreams": upstreams }));
        assert_eq!(text.matches("down\n").count(), 1, "{text}");
    }

    #[test]
    fn a_name_without_a_new_certificate_says_why() {
        let acme = json!([
            { "name": "a.test", "last_error": null, "next_order_at": 9 },
            { "name": "b.test", "last_error": { "at": 1, "text": "no" }, "next_order_at": 60 },
        ]);
        let text = status(&json!({ "acme": acme }));
        let told =
            "no certificate was issued for b.test: no; next order 1970-01-01T00:01:00.000Z\n";
        assert!(text.ends_with(told) && !text.contains("a.test"), "{text}");
    }

    #[test]
    fn what_came_of_it_is_told_in_lines() {
        let page = json!({
            "changed": ["a: 2, which was 1"],
            "needs_new_process": ["b: 2, which was 1"],
            "warnings": ["c"],
        });
        let text = "reloaded\n  a: 2, which was 1\n\
                    not in force until a new process begins: b: 2, which was 1\nwarning: c\n";
        assert_eq!(reloaded(&page), text);
        assert_eq!(reloaded(&json!({ "changed": [] })), "reloaded; nothing has changed\n");
        let error = json!({ "error": { "message": "no", "text": "error: x\n" } });
        assert_eq!(refused(400, &error), "error: x\ntidegate: no\n");
        assert!(refused(502, &Value::Null).contains("502"));
    }
}
