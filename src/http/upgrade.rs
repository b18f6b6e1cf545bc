//! Leaving HTTP on a connection (RFC 9110 section 7.8), above all for a WebSocket (RFC 6455 section
//! 4): what a client asks for, what of it is offered to the upstream, and whether its 101 is true.
//!
//! ```text
//!   request                      offer                   101
//!   judged: None ------------->  none: Upgrade stays  -> nobody asked: refused
//!           Other ------------>  if allowed by name   -> to the very protocol offered, or refused
//!           WebSocket -------->  always, with its key -> the same, and with proof of the key
//! ```
//! A protocol is offered only where it would be honest to switch: over HTTP/1.1, with the `upgrade`
//! connection option, and without a body between the head and the new protocol. Everything else is
//! an ordinary request that mentions one, which RFC 9110 lets a server overlook.

use data_encoding::BASE64;
use sha1_smol::Sha1;

use super::close::Reason;
use super::fields::Field;
use super::framing::Framing;
use super::grammar;
use super::head::{Method, Version};
use super::names::Name;

/// The protocol every proxy is asked for.
pub const WEBSOCKET: &str = "websocket";
/// The one version of the WebSocket protocol (RFC 6455 section 4.1).
pub const VERSION: &str = "13";
/// The text that turns a key into a proof (RFC 6455 section 1.3).
const GUID: &[u8; 36] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Octets of a `Sec-WebSocket-Key`: 16 in base64.
pub const KEY: usize = 24;
/// Octets of a `Sec-WebSocket-Accept`: 20 in base64.
pub const PROOF: usize = 28;

/// What a request wants its connection to become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Upgrade {
    /// Nothing but HTTP, or nothing that could be granted.
    #[default]
    None,
    /// A WebSocket, with a sound handshake (RFC 6455 section 4.2.1).
    WebSocket,
    /// Something else; an ordinary request unless that is allowed by name.
    Other,
}

/// What is offered to the upstream; made by [`Request::offer`](super::Request::offer).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer<'p> {
    /// A WebSocket, with the key its 101 has to prove.
    WebSocket {
        /// `Sec-WebSocket-Key` as it came.
        key: [u8; KEY],
    },
    /// A protocol allowed by name.
    Other(&'p [u8]),
}

impl Offer<'_> {
    /// The name of the protocol, for `Upgrade`.
    pub fn protocol(&self) -> &[u8] {
        match self {
            Offer::WebSocket { .. } => WEBSOCKET.as_bytes(),
            Offer::Other(name) => name,
        }
    }
}

/// The value of `Sec-WebSocket-Accept` for `key` (RFC 6455 section 4.2.2): the SHA-1 of the key and a
/// fixed text, in base64.
pub fn accept(key: &[u8; KEY]) -> [u8; PROOF] {
    let mut sha1 = Sha1::new();
    sha1.update(key);
    sha1.update(GUID);
    let mut proof = [0; PROOF];
    BASE64.encode_mut(&sha1.digest().bytes(), &mut proof);
    proof
}

/// Judges what a request wants to become; `asked` tells whether `Connection` names `upgrade`.
///
/// RFC 9110 section 7.8 has HTTP/1.0 requests, and those without the connection option, mean nothing
/// by it; RFC 6455 section 4.1 leaves GET as the only method of a handshake.
pub(super) fn judge(
    (method, version): (Method, Version),
    fields: &[Field],
    bytes: &[u8],
    framing: Framing,
    asked: bool,
) -> Result<Upgrade, Reason> {
    if !asked || version == Version::Http10 {
        return Ok(Upgrade::None);
    }
    let is_websocket = |name: &[u8]| name.eq_ignore_ascii_case(WEBSOCKET.as_bytes());
    if method == Method::Get && protocols(fields, bytes).any(is_websocket) {
        judge_handshake(fields, bytes, framing)?;
        return Ok(Upgrade::WebSocket);
    }
    let other = protocols(fields, bytes).any(|name| !is_websocket(name));
    let empty = framing == Framing::None;
    Ok(if other && empty { Upgrade::Other } else { Upgrade::None })
}

/// The client's side of a handshake (RFC 6455 section 4.2.1). The version comes first: clients of
/// another one need not have a key.
fn judge_handshake(fields: &[Field], bytes: &[u8], framing: Framing) -> Result<(), Reason> {
    if framing != Framing::None {
        return Err(Reason::UpgradeWithBody);
    }
    if only(fields, bytes, Name::SecWebSocketVersion) != Some(VERSION.as_bytes()) {
        return Err(Reason::WebsocketVersion);
    }
    match only(fields, bytes, Name::SecWebSocketKey) {
        Some(key) if is_key(key) => Ok(()),
        _ => Err(Reason::BadWebsocketKey),
    }
}

/// Judges a 101 by what was offered (RFC 9110 section 15.2.2, RFC 6455 section 4.1); `connection`
/// tells whether its `Connection` names `upgrade`.
pub(super) fn judge_switch(
    version: Version,
    fields: &[Field],
    bytes: &[u8],
    connection: bool,
    offer: Option<&Offer>,
) -> Result<(), Reason> {
    let offer = offer.ok_or(Reason::UnaskedUpgrade)?;
    let Some(protocol) = only(fields, bytes, Name::Upgrade) else {
        return Err(Reason::BadUpgradeProof);
    };
    if !protocol.eq_ignore_ascii_case(offer.protocol()) {
        return Err(Reason::UnaskedUpgrade);
    }
    let proven = match offer {
        Offer::WebSocket { key } => {
            only(fields, bytes, Name::SecWebSocketAccept) == Some(&accept(key)[..])
        }
        Offer::Other(_) => true,
    };
    let sound = proven && connection && version == Version::Http11;
    if sound { Ok(()) } else { Err(Reason::BadUpgradeProof) }
}

/// The protocols that `Upgrade` names, in order of preference.
pub(super) fn protocols<'b>(
    fields: &'b [Field],
    bytes: &'b [u8],
) -> impl Iterator<Item = &'b [u8]> {
    let fields = fields.iter().filter(|field| field.id == Name::Upgrade);
    fields.flat_map(|field| grammar::list(field.value.of(bytes)))
}

/// The value of the field called `name`, if there is exactly one.
fn only<'b>(fields: &[Field], bytes: &'b [u8], name: Name) -> Option<&'b [u8]> {
    let mut fields = fields.iter().filter(|field| field.id == name);
    match (fields.next(), fields.next()) {
        (Some(field), None) => Some(field.value.of(bytes)),
        _ => None,
    }
}

/// 16 octets in base64: 22 digits, the last of them only in part, and the padding. Bits to spare in
/// it are no matter: nobody decodes a key.
fn is_key(value: &[u8]) -> bool {
    let digit = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    value.len() == KEY && value.strip_suffix(b"==").is_some_and(|digits| digits.iter().all(digit))
}

#[cfg(test)]
mod tests {
    use super::super::head::{Limits, Progress};
    use super::super::request::Request;
    use super::super::response::{Asked, Response};
    use super::*;

    /// The handshake of RFC 6455 section 1.3.
    const KEY_FIELD: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    const OFFER: Offer = Offer::WebSocket { key: *b"dGhlIHNhbXBsZSBub25jZQ==" };
    const NOBODY: &[&str] = &[];

    fn read(text: &str) -> Result<Request, Reason> {
        let mut head = Request::default();
        let read = head.read(text.as_bytes(), &Limits::default());
        read.map(|progress| assert_eq!(progress, Progress::Complete)).map(|()| head)
    }

    /// A handshake with another request line and other fields behind what both of them need.
    fn asked(line: &str, fields: &str) -> Result<Upgrade, Reason> {
        let text = format!("{line}\r\nHost: a\r\nConnection: Upgrade\r\n{fields}\r\n");
        read(&text).map(|head| head.upgrade)
    }

    fn get(fields: &str) -> Result<Upgrade, Reason> {
        asked("GET / HTTP/1.1", fields)
    }

    #[test]
    fn the_proof_of_a_key() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), *b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(accept(b"x3JJHMbDL1EzLkh9GBhXDw=="), *b"HSmrc0sMlYUkAGmm5OPpG2HaGWk=");
    }

    #[test]
    fn a_handshake_is_judged() {
        let version = "Sec-WebSocket-Version: 13\r\n";
        let sound = format!("Upgrade: websocket\r\n{version}{KEY_FIELD}");
        assert_eq!(get(&sound), Ok(Upgrade::WebSocket));
        assert_eq!(get(&sound.replace("websocket", "WebSocket")), Ok(Upgrade::WebSocket));
        assert_eq!(get(&sound.replace("websocket", "h2c, websocket")), Ok(Upgrade::WebSocket));
        assert_eq!(get(&format!("{sound}Content-Length: 0\r\n")), Ok(Upgrade::WebSocket));
        for (fields, reason) in [
            (format!("{sound}Content-Length: 1\r\n"), Reason::UpgradeWithBody),
            (format!("{sound}Transfer-Encoding: chunked\r\n"), Reason::UpgradeWithBody),
            (sound.replace(version, ""), Reason::WebsocketVersion),
            (format!("{sound}{version}"), Reason::WebsocketVersion),
            (sound.replace("13", "8"), Reason::WebsocketVersion),
            (sound.replace("13", "+13"), Reason::WebsocketVersion),
            (sound.replace("13", "13, 8"), Reason::WebsocketVersion),
            (sound.replace(KEY_FIELD, ""), Reason::BadWebsocketKey),
            (format!("{sound}{KEY_FIELD}"), Reason::BadWebsocketKey),
            (sound.replace("ZQ==", "ZQ="), Reason::BadWebsocketKey),
            (sound.replace("ZQ==", "ZQ"), Reason::BadWebsocketKey),
            (sound.replace("ZQ==", "ZQ=a"), Reason::BadWebsocketKey),
            (sound.replace("ZQ==", "ZQA="), Reason::BadWebsocketKey),
            (sound.replace("ZQ==", "Z-=="), Reason::BadWebsocketKey),
            (sound.replace("ZQ==", "ZQZQ=="), Reason::BadWebsocketKey),
        ] {
            assert_eq!(get(&fields), Err(reason), "{fields:?}");
        }
        for line in ["POST / HTTP/1.1", "GET / HTTP/1.0", "HEAD / HTTP/1.1", "get / HTTP/1.1"] {
            assert_eq!(asked(line, &sound), Ok(Upgrade::None), "{line}");
        }
        let unmeant = format!("GET / HTTP/1.1\r\nHost: a\r\n{sound}\r\n");
        assert_eq!(read(&unmeant).map(|head| head.upgrade), Ok(Upgrade::None));
    }

    #[test]
    fn what_only_sounds_like_a_handshake_is_an_ordinary_request() {
        assert_eq!(get(""), Ok(Upgrade::None));
        assert_eq!(get("Upgrade:\r\n"), Ok(Upgrade::None));
        assert_eq!(get("Upgrade: h2c\r\n"), Ok(Upgrade::Other));
        assert_eq!(get("Upgrade: websocket/13\r\n"), Ok(Upgrade::Other));
        assert_eq!(get("Upgrade: \"websocket\"\r\n"), Ok(Upgrade::Other));
        assert_eq!(get("Upgrade: h2c\r\nContent-Length: 1\r\n"), Ok(Upgrade::None));
        assert_eq!(asked("POST / HTTP/1.1", "Upgrade: tcp\r\n"), Ok(Upgrade::Other));
        assert_eq!(asked("GET / HTTP/1.0", "Upgrade: tcp\r\n"), Ok(Upgrade::None));
        assert_eq!(asked("POST / HTTP/1.1", "Upgrade: tcp, websocket\r\n"), Ok(Upgrade::Other));
    }

    #[test]
    fn only_what_is_allowed_is_offered() {
        let offered = |line: &str, fields: &str, allowed: &[&'static str]| {
            let text = format!("{line}\r\nHost: a\r\nConnection: upgrade\r\n{fields}\r\n");
            let head = read(&text).unwrap();
            let offer = head.offer(text.as_bytes(), allowed);
            offer.map(|offer| String::from_utf8(offer.protocol().to_vec()).unwrap())
        };
        let get = |fields, allowed| offered("GET / HTTP/1.1", fields, allowed);
        assert_eq!(get("Upgrade: h2c\r\n", NOBODY), None);
        assert_eq!(get("Upgrade: h2c\r\n", &["tcp"]), None);
        assert_eq!(get("Upgrade: a\r\nUpgrade: TCP, b\r\n", &["b", "tcp"]), Some("tcp".into()));
        assert_eq!(get("Upgrade: a/1.1\r\n", &["a"]), None);
        assert_eq!(get("Upgrade: a/1.1\r\n", &["a/1.1"]), Some("a/1.1".into()));
        let post = |fields, allowed| offered("POST / HTTP/1.1", fields, allowed);
        assert_eq!(post("Upgrade: websocket, b\r\n", &["websocket", "b"]), Some("b".into()));
        assert_eq!(post("Upgrade: websocket\r\n", &["websocket"]), None);
        let handshake = format!("Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n{KEY_FIELD}");
        assert_eq!(get(&handshake, NOBODY), Some("websocket".into()));
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n{handshake}\r\n");
        assert_eq!(read(&text).unwrap().offer(text.as_bytes(), NOBODY), Some(OFFER));
    }

    fn switched(text: &str, offer: Option<Offer>) -> Result<(), Reason> {
        let mut head = Response::default();
        let asked = Asked { method: Method::Get, offer };
        let read = head.read(text.as_bytes(), &Limits::default(), asked);
        read.map(|progress| assert_eq!(progress, Progress::Complete))?;
        assert_eq!((head.framing, head.persistent), (Framing::None, false));
        assert!(!head.is_interim());
        Ok(())
    }

    #[test]
    fn a_101_has_to_prove_itself() {
        let sound = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
                     Sec-WebSocket-Protocol: chat\r\n\r\n";
        assert_eq!(switched(sound, Some(OFFER)), Ok(()));
        assert_eq!(switched(&sound.replace("websocket", "WebSocket"), Some(OFFER)), Ok(()));
        assert_eq!(switched(&sound.replace(": Upgrade", ": x, UPGRADE"), Some(OFFER)), Ok(()));
        assert_eq!(switched(sound, None), Err(Reason::UnaskedUpgrade));
        assert_eq!(switched(sound, Some(Offer::Other(b"tcp"))), Err(Reason::UnaskedUpgrade));
        for (from, to, reason) in [
            ("websocket", "h2c", Reason::UnaskedUpgrade),
            ("websocket", "websocket, h2c", Reason::UnaskedUpgrade),
            ("Upgrade: websocket\r\n", "", Reason::BadUpgradeProof),
            ("\r\n\r\n", "\r\nUpgrade: websocket\r\n\r\n", Reason::BadUpgradeProof),
            ("Connection: Upgrade\r\n", "", Reason::BadUpgradeProof),
            (": Upgrade", ": close", Reason::BadUpgradeProof),
            ("HTTP/1.1", "HTTP/1.0", Reason::BadUpgradeProof),
            ("s3pP", "S3pP", Reason::BadUpgradeProof),
            ("xOo=", "xOo", Reason::BadUpgradeProof),
            ("Accept", "Except", Reason::BadUpgradeProof),
            ("Protocol: chat", "Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", Reason::BadUpgradeProof),
            ("\r\n\r\n", "\r\nContent-Length: 1\r\n\r\n", Reason::BadResponseFraming),
            ("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n", Reason::BadResponseFraming),
        ] {
            assert_eq!(switched(&sound.replacen(from, to, 1), Some(OFFER)), Err(reason), "{to:?}");
        }
        let other = "HTTP/1.1 101 x\r\nUpgrade: TCP\r\nConnection: Upgrade\r\n\r\n";
        assert_eq!(switched(other, Some(Offer::Other(b"tcp"))), Ok(()));
    }
}
