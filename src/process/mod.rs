//! WHO ARE WE TO THE SYSTEM? Sockets that listen, the process before us and the one after us, the service manager,
//! the limit of descriptors, standard output and our own log.
//!
//! Laws:
//! - Knows the machine and the settings, and nothing of requests: never sees `proxy`, `upstream` or `control`.
//! - May use `io`, `config`, and of `admin` what takes a socket and what a line of a log looks like.
//! - Only `successor` starts a process, and only from the thread of the control plane.
//! - Whatever the machine refuses is told with the setting that asked for it and with what to do instead.
//!
//! The files: [`listeners`] (listening sockets, found or opened), [`remedies`] (what to do where the machine says no),
//! [`inherited`] (what the process before us left), [`successor`] (the next process), [`notify`] (the service
//! manager), [`program`] (where we are on the disk), [`descriptors`] (how many we may have), [`console`] (standard
//! output and error), [`own_log`] (what tidegate says of itself).

pub mod console;
pub mod descriptors;
pub mod inherited;
pub mod listeners;
pub mod notify;
pub mod own_log;
pub mod program;
pub mod remedies;
pub mod successor;

/// A number in decimal, of digits only.
fn digits(text: &str) -> Option<u64> {
    let digit = |octet: u8| octet.is_ascii_digit().then(|| u64::from(octet - b'0'));
    let add = |value: u64, octet| value.checked_mul(10)?.checked_add(digit(octet)?);
    (!text.is_empty()).then(|| text.bytes().try_fold(0, add)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_only() {
        assert_eq!(digits("0"), Some(0));
        assert_eq!(digits("18446744073709551615"), Some(u64::MAX));
        for text in ["", "+1", "-1", " 1", "1 ", "0x1", "18446744073709551616"] {
            assert_eq!(digits(text), None, "{text}");
        }
    }
}
