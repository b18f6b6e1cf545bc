//! To the service manager: sd_notify(3), one datagram each to the socket it named. The crate `sd-notify` reads the
//! environment by itself and may block on a manager whose queue is full; this does neither.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use rustix::time::{ClockId, clock_gettime};

use crate::base::digits;

/// Tells the service manager, if there is one.
#[derive(Clone, Debug)]
pub struct Notify {
    to: Option<Arc<(UnixDatagram, SocketAddr)>>,
    /// Half of the time after which the manager takes our silence for a hang; `None`: it does not.
    pub watchdog: Option<Duration>,
}

impl Notify {
    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` by means of `variable`.
    pub fn from(variable: impl Fn(&str) -> Option<OsString>) -> Notify {
        let to = variable("NOTIFY_SOCKET").and_then(|name| match open(&name) {
            Ok(to) => Some(Arc::new(to)),
            Err(error) => {
                tracing::warn!(?name, %error, "cannot tell the service manager anything");
                None
            }
        });
        let number = |name| variable(name).as_deref().and_then(OsStr::to_str).and_then(digits);
        let is_for_us = match variable("WATCHDOG_PID") {
            Some(_) => number("WATCHDOG_PID") == Some(u64::from(std::process::id())),
            None => true,
        };
        let watchdog = number("WATCHDOG_USEC").filter(|micros| is_for_us && *micros > 1);
        Notify { to, watchdog: watchdog.map(|micros| Duration::from_micros(micros / 2)) }
    }

    /// Says that settings are read anew; `READY=1` ends that.
    pub fn reloading(&self) {
        if self.to.is_none() {
            return; // and the clock is not asked: rustix cannot below valgrind 3.19
        }
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// Says again and again that we live, for as long as it is held.
    pub async fn feed_watchdog(self, every: Duration) {
        loop {
            self.tell("WATCHDOG=1");
            Timer::after(every).await;
        }
    }

    /// Sends `state`, such as `READY=1`. A manager that does not listen misses it.
    pub fn tell(&self, state: &str) {
        if let Some((socket, address)) = self.to.as_deref()
            && let Err(error) = socket.send_to_addr(state.as_bytes(), address)
        {
            tracing::warn!(state, %error, "cannot tell the service manager");
        }
    }
}

/// A path, or a name in the abstract namespace, which `@` begins.
fn open(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(name)?,
        _ => return Err(io::ErrorKind::Unsupported.into()),
    };
    let socket = UnixDatagram::unbound()?;
    // A manager whose queue is full must not stop us.
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, receiver: &UnixDatagram) {
        let given = OsString::from(name);
        let notify = Notify::from(|name| (name == "NOTIFY_SOCKET").then(|| given.clone()));
        assert_eq!(notify.watchdog, None);
        notify.tell("READY=1");
        let mut seen = [0; 64];
        let octets = receiver.recv(&mut seen).unwrap();
        assert_eq!(&seen[..octets], b"READY=1");
    }

    #[test]
    fn paths_and_abstract_names_are_reached() {
        let path = std::env::temp_dir().join(format!("tidegate-notify-{}", std::process::id()));
        let receiver = UnixDatagram::bind(&path).unwrap();
        told(path.to_str().unwrap(), &receiver);
        std::fs::remove_file(path).unwrap();
        let name = format!("tidegate-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        told(&format!("@{name}"), &UnixDatagram::bind_addr(&address).unwrap());
    }

    #[test]
    fn nobody_to_tell_is_no_fault() {
        for name in ["", "relative", "/no/such/socket"] {
            Notify::from(|_| Some(name.into())).tell("READY=1");
        }
        Notify::from(|_| None).tell("READY=1");
    }

    #[test]
    fn the_watchdog_is_fed_twice_as_often_as_asked_if_it_is_ours() {
        let us = std::process::id().to_string();
        for (micros, pid, every) in [
            ("20000000", None, Some(10)),
            ("20000000", Some(us.as_str()), Some(10)),
            ("20000000", Some("1"), None),
            ("20000000", Some("+1"), None),
            ("+20000000", None, None),
            ("0", None, None),
        ] {
            let notify = Notify::from(|name| match name {
                "WATCHDOG_USEC" => Some(micros.into()),
                "WATCHDOG_PID" => pid.map(OsString::from),
                _ => None,
            });
            assert_eq!(notify.watchdog, every.map(Duration::from_secs), "{micros} {pid:?}");
        }
    }
}
