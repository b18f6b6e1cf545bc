//! Must fail, within a second: it proves that the machinery finds what there is to find.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_fuzz::http::{Limits, Progress, Request};

fuzz_target!(|data: &[u8]| {
    let read = Request::default().read(data, &Limits::default());
    assert_ne!(read, Ok(Progress::Complete), "the canary sings");
});
