//! A header means the same however it was split, is never more than there is, and each octet before its last leaves
//! more to come; what it says can be written and read again, in both versions.
#![no_main]

use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use tidegate_fuzz::http::proxy_protocol::{
    MOST, MOST_V1, Progress, ProxyHeader, ProxyHeaderError, read, write_v1, write_v2,
};
use tidegate_fuzz::{every_way, splits};

fuzz_target!(|data: &[u8]| {
    let (ends, bytes) = splits(data);
    let outcome = every_way(bytes, &ends, || decided);
    match outcome {
        None => assert!(bytes.len() < MOST, "more than ever is needed"),
        Some(Err(error)) => assert!(!error.label().is_empty() && !error.explain().is_empty()),
        Some(Ok(header)) => {
            let most = if bytes[0] == b'P' { MOST_V1 } else { MOST };
            assert!(header.len <= bytes.len() && header.len <= most);
            for end in 0..header.len {
                assert_eq!(read(&bytes[..end]), Ok(Progress::Partial), "{end} octets");
            }
            again(header.source.zip(header.destination));
            assert_eq!(header.source.is_some(), header.destination.is_some());
        }
    }
    any_pair(bytes);
});

/// What is said of `bytes`; `None`: more is needed.
fn decided(bytes: &[u8]) -> Option<Result<ProxyHeader, ProxyHeaderError>> {
    match read(bytes) {
        Ok(Progress::Partial) => None,
        Ok(Progress::Complete(header)) => Some(Ok(header)),
        Err(error) => Some(Err(error)),
    }
}

/// Writes both versions and reads them again.
fn again(ends: Option<(SocketAddr, SocketAddr)>) {
    let (source, destination) = ends.unzip();
    for write in [write_v1, write_v2] {
        let mut out = Vec::new();
        write(ends, &mut out);
        let expected = ProxyHeader { len: out.len(), source, destination };
        assert_eq!(read(&out), Ok(Progress::Complete(expected)));
        assert!(out.len() <= MOST_V1);
    }
}

/// The same for addresses that no header told.
fn any_pair(bytes: &[u8]) {
    let Some((octets, _)) = bytes.split_first_chunk::<36>() else { return };
    let (ips, ports) = octets.split_at(32);
    let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
    let six = |at: usize| <[u8; 16]>::try_from(&ips[at..at + 16]).expect("16 octets");
    let four = |at: usize| <[u8; 4]>::try_from(&ips[at..at + 4]).expect("4 octets");
    again(Some(((six(0), port(0)).into(), (six(16), port(2)).into())));
    again(Some(((four(0), port(0)).into(), (four(16), port(2)).into())));
}
