//! A proxy that goes by a configuration file.

use std::fs;

use serde_json::Value;

use super::{Proxy, Response, Scratch};

/// A proxy, and the file it goes by.
pub struct Configured {
    pub proxy: Proxy,
    pub path: String,
    /// The folder of that.
    pub folder: Scratch,
}

impl Configured {
    /// Starts it with a file of this text, and flags.
    #[track_caller]
    pub fn new(text: &str, flags: &[&str]) -> Configured {
        let folder = Scratch::new();
        let path = folder.join("tidegate.toml");
        fs::write(&path, text).unwrap();
        let proxy = Proxy::start(&[&["--config", &path], flags].concat());
        Configured { proxy, path, folder }
    }

    /// Writes the file anew, and has it read.
    #[track_caller]
    pub fn reload(&self, text: &str) -> Response {
        fs::write(&self.path, text).unwrap();
        self.proxy.post("/reload", "{}")
    }
}

/// An answer in JSON.
#[track_caller]
pub fn page(answer: &Response) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("no JSON: {}", answer.text()))
}
