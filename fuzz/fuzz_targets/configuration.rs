//! Any configuration file, in each of its formats: no panic, a plan that is valid or mistakes that are well told, with
//! advice that holds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_fuzz::settings::{HOME, check};

fuzz_target!(|data: &[u8]| {
    for extension in ["toml", "yaml", "json"] {
        let file = HOME.join(format!("file.{extension}"));
        std::fs::write(&file, data).expect("the file can be written");
        check(&["--config".into(), file.into()], &[]);
    }
});
