//! Any dotenv file: no panic, a plan that is valid or mistakes that are well told, with advice that holds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_fuzz::settings::{HOME, check};

fuzz_target!(|data: &[u8]| {
    std::fs::write(HOME.join(".env"), data).expect("the file can be written");
    check(&[], &[]);
    check(&["config".into(), "show".into(), "--origin".into()], &[]);
});
