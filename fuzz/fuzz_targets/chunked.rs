//! A chunked body is the same however it arrives, ends where it ends, survives being chunked anew, and
//! announces no more than can be counted with a sign.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_fuzz::http::Reason;
use tidegate_fuzz::http::chunked::{ChunkedDecoder, LAST, size_line};
use tidegate_fuzz::{every_way, splits};

/// Octets used, payload, trailers.
type Body = (usize, Vec<u8>, Vec<u8>);

fuzz_target!(|data: &[u8]| {
    let (ends, bytes) = splits(data);
    let decoded = every_way(bytes, &ends, reader);
    if !matches!(decoded, Some(Err(_))) {
        assert!(announced(bytes) <= i64::MAX as u128);
    }
    let Some(Ok((used, payload, trailers))) = decoded else { return };
    assert!(used <= bytes.len());
    let anew = encode(&payload, &trailers);
    assert_eq!(reader()(&anew), Some(Ok((anew.len(), payload, trailers))));
});

fn reader() -> impl FnMut(&[u8]) -> Option<Result<Body, Reason>> {
    let (mut decoder, mut fed, mut payload) = (ChunkedDecoder::default(), 0, Vec::new());
    move |bytes: &[u8]| {
        let mut news = bytes[fed..].to_vec();
        let decoded = match decoder.decode(&mut news) {
            Ok(decoded) => decoded,
            Err(reason) => return Some(Err(reason)),
        };
        assert!(decoded.payload <= decoded.consumed && decoded.consumed <= news.len());
        assert!(decoded.done || decoded.consumed == news.len());
        assert_eq!(news[decoded.consumed..], bytes[fed + decoded.consumed..]);
        payload.extend_from_slice(&news[..decoded.payload]);
        fed += decoded.consumed;
        decoded.done.then(|| Ok((fed, payload.clone(), decoder.trailers().to_vec())))
    }
}

/// The sizes of the chunks that begin in `bytes`, which is sound as far as it goes; read naively.
fn announced(mut bytes: &[u8]) -> u128 {
    let mut sum = 0;
    while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
        let digits = bytes.iter().take_while(|b| b.is_ascii_hexdigit());
        let size = digits.fold(0, |n, b| n * 16 + u128::from((*b as char).to_digit(16).unwrap()));
        sum += size;
        let data = usize::try_from(size).unwrap_or(usize::MAX).saturating_add(2);
        match bytes[end + 1..].get(data..) {
            Some(rest) if size > 0 => bytes = rest,
            _ => break,
        }
    }
    sum
}

fn encode(payload: &[u8], trailers: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in payload.chunks(7) {
        out.extend_from_slice(size_line(chunk.len() as u64, &mut [0; 18]));
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    [&out, LAST, trailers, b"\r\n"].concat()
}
