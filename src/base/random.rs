//! Octets that nobody can guess.

use rustix::rand::{GetRandomFlags, getrandom};

/// Random octets of the kernel's (getrandom(2)), other ones at each call.
///
/// # Panics
/// When the kernel has none, which is one from before 2014: without secrets nothing here is safe.
pub fn secret() -> [u8; 32] {
    let mut secret = [0; 32];
    // So few come whole, and no signal interrupts that once the kernel's pool is initialised; before that, we wait.
    loop {
        match getrandom(&mut secret, GetRandomFlags::empty()) {
            Ok(count) if count == secret.len() => return secret,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("the kernel gives no random octets: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_like_another() {
        let secrets: std::collections::HashSet<[u8; 32]> = (0..100).map(|_| secret()).collect();
        assert_eq!(secrets.len(), 100);
        // Whole: no part is left as it was.
        for part in 0..4 {
            let is_left = |one: &[u8; 32]| one[part * 8..(part + 1) * 8] == [0; 8];
            assert!(!secrets.iter().any(is_left), "part {part}");
        }
    }
}
