//! Any command line and environment: no panic, a plan that is valid or mistakes that are well told, with advice
//! that holds. One word a line; lines like `TIDEGATE_X=y` and `HTTP_SERVER_URL_X=y` are the environment.
#![no_main]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use libfuzzer_sys::fuzz_target;
use tidegate_fuzz::settings::check;

fuzz_target!(|data: &[u8]| {
    // Devices that never end are no dotenv files.
    if data.windows(5).any(|part| part == b"/dev/" || part == b"/proc") {
        return;
    }
    let (mut args, mut env) = (Vec::new(), Vec::new());
    for line in data.split(|b| *b == b'\n') {
        let ours = [&b"TIDEGATE_"[..], b"HTTP_SERVER_", b"HTTPS_SERVER_"];
        let ours = ours.iter().any(|start| line.starts_with(start));
        match line.iter().position(|b| *b == b'=').filter(|_| ours) {
            Some(at) => env.push((word(&line[..at]), word(&line[at + 1..]))),
            None => args.push(word(line)),
        }
    }
    check(&args, &env);
});

fn word(octets: &[u8]) -> OsString {
    OsString::from_vec(octets.to_vec())
}
