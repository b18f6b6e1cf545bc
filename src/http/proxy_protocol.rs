//! The PROXY protocol (HAProxy, `proxy-protocol.txt` of 2020-03-05): whom a load balancer before us
//! speaks for, in a header before the first octet of HTTP.
//!
//! ```text
//!   version 1 (section 2.1), a line of at most 107 octets:
//!     "PROXY TCP4 " source SP destination SP port SP port CRLF      the same with TCP6
//!     "PROXY UNKNOWN" [ SP anything ] CRLF                          nobody is named
//!
//!   version 2 (section 2.2), big-endian:
//!     signature   2|command   family|protocol   length   addresses   TLVs
//!        12           1              1             2     `-- length octets --'
//! ```
//! Strict where it matters who is meant: what is no header is refused at the first octet that cannot
//! be one, so an HTTP request is refused at once; and a header means the same however it was split
//! into reads. Nobody is named by `LOCAL`, `UNKNOWN`, `AF_UNSPEC` and `AF_UNIX`: the connection
//! speaks for itself then.
//!
//! Who may send such a header is not told here: whoever sends one says who he is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::str::FromStr;

use crate::base::digits;

/// Octets of a header of version 1, its line end included (section 2.1).
pub const MOST_V1: usize = 107;
/// Octets of any header that is read. The specification has them fit into 536; a name that a client
/// gave, or a certificate's, may be longer.
pub const MOST: usize = 2048;

/// What a header of version 1 begins with.
const V1: &[u8] = b"PROXY ";
/// What a header of version 2 begins with.
const V2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Octets of version 2 before the addresses.
const FIXED: usize = 16;
/// Octets of a line before its CRLF.
const LINE: usize = MOST_V1 - 2;
/// Octets of the longest text of an IPv6 address, with an IPv4 address at its end.
const IPV6_TEXT: usize = 45;
/// The TLV that has a checksum of all the header (section 2.2.3).
const CHECKSUM: u8 = 3;

/// A row: `Variant label "explanation"`.
macro_rules! errors {
    ($($variant:ident $label:ident $explain:literal;)*) => {
        /// Why octets are no header.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ProxyHeaderError {
            $(#[doc = $explain] $variant,)*
        }

        impl ProxyHeaderError {
            /// Every one.
            pub const ALL: &'static [ProxyHeaderError] = &[$(ProxyHeaderError::$variant,)*];

            /// The name in logs and metrics, in snake case.
            pub const fn label(self) -> &'static str {
                match self { $(ProxyHeaderError::$variant => stringify!($label),)* }
            }

            /// What is wrong, for people; no whole sentence.
            pub const fn explain(self) -> &'static str {
                match self { $(ProxyHeaderError::$variant => $explain,)* }
            }
        }
    };
}

errors! {
    Missing missing "it begins with something else than a PROXY header";
    Transport transport "the line names another transport than TCP4, TCP6 and UNKNOWN";
    Address address "an address is none, or not of the family that the line names";
    Port port "a port is no number from 0 to 65535 without leading zeros";
    Fields fields "the line has not two addresses and two ports, with one space between";
    LineEnd line_end "the line does not end with CRLF";
    LineTooLong line_too_long "the line is longer than 107 octets";
    Version version "the version is neither 1 nor 2";
    Command command "the command is neither LOCAL nor PROXY";
    Family family "the address family is unknown";
    Protocol protocol "the protocol is unknown, or none where there is an address";
    Datagram datagram "the protocol is UDP, and HTTP does not come that way";
    TooLong too_long "the header is longer than 2048 octets";
    TooShort too_short "the header is shorter than its addresses";
    Tlv tlv "what follows the addresses is not made of whole TLVs";
    ChecksumTlv checksum_tlv "the checksum has not 4 octets, or there are two";
    Checksum checksum "the checksum is not that of the header";
}

/// Whether a header is all there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More octets are needed, [`MOST`] at most; call [`read`] again with the same ones and more.
    Partial,
    /// The header is complete and good.
    Complete(ProxyHeader),
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Its octets; what follows belongs to the connection.
    pub len: usize,
    /// Who asks, exactly as it was told: an IPv4 address may come mapped into IPv6. `None`: the
    /// connection speaks for itself.
    pub source: Option<SocketAddr>,
    /// Where it was asked; `None` as for `source`.
    pub destination: Option<SocketAddr>,
}

impl ProxyHeader {
    fn new(len: usize, ends: Option<(SocketAddr, SocketAddr)>) -> Self {
        let (source, destination) = ends.unzip();
        ProxyHeader { len, source, destination }
    }
}

/// Reads the header that `octets` begin with.
///
/// An error is final: it stays whatever follows. A header of version 1 is judged octet by octet (of
/// an IPv6 address that is not all there, only which octets it has and how many); of version 2 its
/// first 16 octets are, and the rest when all of it is there.
pub fn read(octets: &[u8]) -> Result<Progress, ProxyHeaderError> {
    let header = match octets.first() {
        None => None,
        Some(b'P') => read_v1(octets)?,
        Some(_) => read_v2(octets)?,
    };
    Ok(header.map_or(Progress::Partial, Progress::Complete))
}

/// What is behind `word`; `None`: not all of it is there yet.
fn behind<'o>(
    octets: &'o [u8],
    word: &[u8],
    error: ProxyHeaderError,
) -> Result<Option<&'o [u8]>, ProxyHeaderError> {
    let there = octets.len().min(word.len());
    if octets[..there] == word[..there] { Ok(octets.get(word.len()..)) } else { Err(error) }
}

// ---- version 1 ----

fn read_v1(octets: &[u8]) -> Result<Option<ProxyHeader>, ProxyHeaderError> {
    let Some(rest) = behind(octets, V1, ProxyHeaderError::Missing)? else { return Ok(None) };
    let word: &[u8] = match rest {
        [b'U', ..] => b"UNKNOWN",
        [_, _, _, b'6', ..] => b"TCP6",
        _ => b"TCP4",
    };
    if behind(rest, word, ProxyHeaderError::Transport)?.is_none() {
        return Ok(None);
    }
    let at = V1.len() + word.len();
    match word {
        b"UNKNOWN" => read_unknown(octets, at),
        b"TCP6" => read_addresses(octets, at, true),
        _ => read_addresses(octets, at, false),
    }
}

/// The rest of a line that names nobody: whatever it says, up to its end.
fn read_unknown(octets: &[u8], from: usize) -> Result<Option<ProxyHeader>, ProxyHeaderError> {
    for at in from..octets.len() {
        match octets[at] {
            b'\r' => return line_end(octets, at, None),
            b'\n' => return Err(ProxyHeaderError::LineEnd),
            octet if at == from && octet != b' ' => return Err(ProxyHeaderError::Transport),
            _ if at == LINE => return Err(ProxyHeaderError::LineTooLong),
            _ => {}
        }
    }
    Ok(None)
}

/// The rest of a line behind `TCP4` or `TCP6`.
fn read_addresses(
    octets: &[u8],
    from: usize,
    six: bool,
) -> Result<Option<ProxyHeader>, ProxyHeaderError> {
    let Some(separator) = octets.get(from) else { return Ok(None) };
    if *separator != b' ' {
        return Err(ProxyHeaderError::Transport);
    }
    let mut at = from + 1;
    let (mut ips, mut ports) = ([Ipv4Addr::UNSPECIFIED.into(); 2], [0; 2]);
    for field in 0..4 {
        let line = &octets[at..octets.len().min(LINE + 1)];
        let end = line.iter().position(|octet| matches!(octet, b' ' | b'\r' | b'\n'));
        let text = &line[..end.unwrap_or(line.len())];
        match (field, end) {
            (0 | 1, Some(_)) => ips[field] = ip(text, six).ok_or(ProxyHeaderError::Address)?,
            (0 | 1, None) if !may_be_ip(text, six) => return Err(ProxyHeaderError::Address),
            (_, None) if text.is_empty() => {}
            (2 | 3, _) => ports[field - 2] = port(text).ok_or(ProxyHeaderError::Port)?,
            _ => {}
        }
        let Some(end) = end else {
            let full = octets.len() > LINE;
            return if full { Err(ProxyHeaderError::LineTooLong) } else { Ok(None) };
        };
        match (line[end], field) {
            (b' ', 0..=2) => at += end + 1,
            (b'\r', 3) => {
                let [source, destination] = [0, 1].map(|i| SocketAddr::new(ips[i], ports[i]));
                return line_end(octets, at + end, Some((source, destination)));
            }
            (b'\n', _) => return Err(ProxyHeaderError::LineEnd),
            _ => return Err(ProxyHeaderError::Fields),
        }
    }
    Ok(None)
}

/// The header that a line is whose CR is at `cr`.
fn line_end(
    octets: &[u8],
    cr: usize,
    ends: Option<(SocketAddr, SocketAddr)>,
) -> Result<Option<ProxyHeader>, ProxyHeaderError> {
    match octets.get(cr + 1) {
        None => Ok(None),
        Some(b'\n') => Ok(Some(ProxyHeader::new(cr + 2, ends))),
        Some(_) => Err(ProxyHeaderError::LineEnd),
    }
}

/// An address. The standard library takes IPv4 without leading zeros only, and IPv6 as `inet_pton`
/// does.
fn ip(text: &[u8], six: bool) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    match six {
        true => Ipv6Addr::from_str(text).ok().map(Into::into),
        false => Ipv4Addr::from_str(text).ok().map(Into::into),
    }
}

/// Whether `text` may go on to an address.
fn may_be_ip(text: &[u8], six: bool) -> bool {
    if six {
        let fits = |octet: &u8| octet.is_ascii_hexdigit() || matches!(octet, b':' | b'.');
        return text.len() <= IPV6_TEXT && text.iter().all(fits);
    }
    let last = text.iter().filter(|octet| **octet == b'.').count();
    let mut parts = text.split(|octet| *octet == b'.').enumerate();
    last < 4
        && parts
            .all(|(i, part)| number(part, u8::MAX.into()).is_some() || i == last && part.is_empty())
}

fn port(text: &[u8]) -> Option<u16> {
    number(text, u16::MAX.into()).and_then(|port| port.try_into().ok())
}

/// A decimal number without leading zeros, `most` at most.
fn number(text: &[u8], most: u64) -> Option<u64> {
    let leading_zero = text.len() > 1 && text[0] == b'0';
    digits(text).filter(|number| !leading_zero && *number <= most)
}

// ---- version 2 ----

/// Whose addresses a header of version 2 has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AddressFamily {
    Unspecified,
    V4,
    V6,
    Unix,
}

impl AddressFamily {
    /// The family, and the protocol with it, in the 14th octet (section 2.2).
    fn of(octet: u8) -> Result<AddressFamily, ProxyHeaderError> {
        let family = match octet >> 4 {
            0 => AddressFamily::Unspecified,
            1 => AddressFamily::V4,
            2 => AddressFamily::V6,
            3 => AddressFamily::Unix,
            _ => return Err(ProxyHeaderError::Family),
        };
        match octet & 15 {
            1 => Ok(family),
            0 if family == AddressFamily::Unspecified => Ok(family),
            2 => Err(ProxyHeaderError::Datagram),
            _ => Err(ProxyHeaderError::Protocol),
        }
    }

    /// Octets of both addresses, with their ports.
    fn octets(self) -> usize {
        match self {
            AddressFamily::Unspecified => 0,
            AddressFamily::V4 => 12,
            AddressFamily::V6 => 36,
            AddressFamily::Unix => 216,
        }
    }
}

fn read_v2(octets: &[u8]) -> Result<Option<ProxyHeader>, ProxyHeaderError> {
    let Some(rest) = behind(octets, V2, ProxyHeaderError::Missing)? else { return Ok(None) };
    let Some(command) = rest.first() else { return Ok(None) };
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        0x22..=0x2f => return Err(ProxyHeaderError::Command),
        _ => return Err(ProxyHeaderError::Version),
    };
    let Some(family) = rest.get(1) else { return Ok(None) };
    let family = match AddressFamily::of(*family) {
        // A receiver has to take LOCAL whatever it says besides (section 2.2).
        Err(_) if is_local => AddressFamily::Unspecified,
        family => family?,
    };
    let Some(high) = rest.get(2) else { return Ok(None) };
    let low = rest.get(3);
    let len = FIXED + usize::from(u16::from_be_bytes([*high, low.copied().unwrap_or(0)]));
    if len > MOST {
        return Err(ProxyHeaderError::TooLong);
    }
    let behind_addresses = FIXED + family.octets();
    if low.is_some() && len < behind_addresses && !is_local {
        return Err(ProxyHeaderError::TooShort);
    }
    let Some(header) = octets.get(..len).filter(|_| low.is_some()) else { return Ok(None) };
    match judge_tlvs(header, behind_addresses) {
        // What nobody's addresses are is skipped, and need not be TLVs.
        Err(ProxyHeaderError::Tlv | ProxyHeaderError::ChecksumTlv)
            if is_local || family == AddressFamily::Unspecified => {}
        judged => judged?,
    }
    let ends = if is_local { None } else { addresses(family, &header[FIXED..]) };
    Ok(Some(ProxyHeader::new(len, ends)))
}

/// Source and destination at the front of `block`.
fn addresses(family: AddressFamily, block: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    match family {
        AddressFamily::V4 => ends::<4>(block),
        AddressFamily::V6 => ends::<16>(block),
        AddressFamily::Unspecified | AddressFamily::Unix => None,
    }
}

/// Two addresses of `N` octets, and two ports.
fn ends<const N: usize>(block: &[u8]) -> Option<(SocketAddr, SocketAddr)>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = block.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let (ports, _) = rest.split_first_chunk::<4>()?;
    let [a, b, c, d] = *ports;
    let source = SocketAddr::new((*source).into(), u16::from_be_bytes([a, b]));
    Some((source, SocketAddr::new((*destination).into(), u16::from_be_bytes([c, d]))))
}

/// Walks the TLVs of a whole header, from `at` on, and verifies its checksum if it has one. What the
/// others say is nothing to us.
fn judge_tlvs(header: &[u8], mut at: usize) -> Result<(), ProxyHeaderError> {
    let mut checksum = None;
    while at < header.len() {
        let [kind, high, low, ..] = header[at..] else { return Err(ProxyHeaderError::Tlv) };
        let value = at + 3;
        let len = usize::from(u16::from_be_bytes([high, low]));
        at = value + len;
        if at > header.len() {
            return Err(ProxyHeaderError::Tlv);
        }
        if kind == CHECKSUM && (len != 4 || checksum.replace(value).is_some()) {
            return Err(ProxyHeaderError::ChecksumTlv);
        }
    }
    let Some(at) = checksum else { return Ok(()) };
    let (before, rest) = header.split_at(at);
    let (told, after) = rest.split_at(4);
    let sum = crc32c([before, &[0; 4], after]);
    if told == sum.to_be_bytes() { Ok(()) } else { Err(ProxyHeaderError::Checksum) }
}

/// CRC32c (RFC 4960 appendix B, RFC 3720 section 12.1) of `parts`, one behind the other.
fn crc32c(parts: [&[u8]; 3]) -> u32 {
    let add = |sum: u32, octet: &u8| CRC32C[usize::from(sum as u8 ^ octet)] ^ sum >> 8;
    !parts.into_iter().flatten().fold(!0, add)
}

/// What each octet adds to a sum.
static CRC32C: [u32; 256] = {
    let mut table = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        let (mut sum, mut bit) = (octet as u32, 0);
        while bit < 8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ 0x82f6_3b78 } else { sum >> 1 };
            bit += 1;
        }
        table[octet] = sum;
        octet += 1;
    }
    table
};

// ---- what leaves ----

/// Appends a header of version 1 that names source and destination; `None`: nobody.
///
/// Where only one of them is IPv6, the other one is mapped into it (RFC 4291 section 2.5.5.2). Zones
/// and flow labels are left out.
pub fn write_v1(ends: Option<(SocketAddr, SocketAddr)>, out: &mut Vec<u8>) {
    let line = match ends.map(of_one_family) {
        None => "PROXY UNKNOWN\r\n".to_owned(),
        Some((source, destination)) => {
            let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            let [from, to] = [source, destination].map(ip_text);
            format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port())
        }
    };
    out.extend_from_slice(line.as_bytes());
}

/// Appends a header of version 2 without TLVs; otherwise as [`write_v1`]. `None`: `LOCAL`.
pub fn write_v2(ends: Option<(SocketAddr, SocketAddr)>, out: &mut Vec<u8>) {
    out.extend_from_slice(V2);
    let Some((source, destination)) = ends.map(of_one_family) else {
        out.extend_from_slice(&[0x20, 0, 0, 0]);
        return;
    };
    let (family, octets) = match source {
        SocketAddr::V4(_) => (0x11, AddressFamily::V4.octets()),
        SocketAddr::V6(_) => (0x21, AddressFamily::V6.octets()),
    };
    out.extend_from_slice(&[0x21, family, 0, octets as u8]);
    for end in [source, destination] {
        match end {
            SocketAddr::V4(end) => out.extend_from_slice(&end.ip().octets()),
            SocketAddr::V6(end) => out.extend_from_slice(&end.ip().octets()),
        }
    }
    for end in [source, destination] {
        out.extend_from_slice(&end.port().to_be_bytes());
    }
}

/// Both as IPv6 where one of them is.
fn of_one_family((source, destination): (SocketAddr, SocketAddr)) -> (SocketAddr, SocketAddr) {
    let mapped = |end: SocketAddr| match end {
        SocketAddr::V4(end) => {
            SocketAddrV6::new(end.ip().to_ipv6_mapped(), end.port(), 0, 0).into()
        }
        end => end,
    };
    match source.is_ipv4() == destination.is_ipv4() {
        true => (source, destination),
        false => (mapped(source), mapped(destination)),
    }
}

/// An address as text; IPv6 in hexadecimal digits to its end, as version 1 has it.
fn ip_text(end: SocketAddr) -> String {
    match end {
        SocketAddr::V6(end) if end.ip().to_ipv4_mapped().is_some() => {
            let [.., high, low] = end.ip().segments();
            format!("::ffff:{high:x}:{low:x}")
        }
        end => end.ip().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::feed::every_way;
    use super::ProxyHeaderError::*;
    use super::*;

    type Outcome = Result<ProxyHeader, ProxyHeaderError>;
    /// Source and destination, as text.
    type Named = Option<(&'static str, &'static str)>;

    fn end(text: &str) -> SocketAddr {
        SocketAddr::from_str(text).unwrap()
    }

    /// What is said of `octets` however they arrive; `None`: more is needed.
    fn judged(octets: &[u8]) -> Option<Outcome> {
        every_way(octets, || {
            |octets: &[u8]| match read(octets) {
                Ok(Progress::Partial) => None,
                Ok(Progress::Complete(header)) => Some(Ok(header)),
                Err(error) => Some(Err(error)),
            }
        })
    }

    /// Version 2: command, family and protocol, length, and what follows.
    fn v2(command: u8, family: u8, len: u16, block: &[u8]) -> Vec<u8> {
        [V2, &[command, family][..], &len.to_be_bytes(), block].concat()
    }

    /// The same with the length of the block.
    fn whole(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        v2(command, family, block.len() as u16, block)
    }

    fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
        [&[kind][..], &(value.len() as u16).to_be_bytes(), value].concat()
    }

    /// 192.0.2.1:50000 to 198.51.100.2:443.
    const BLOCK4: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 2, 0xc3, 0x50, 1, 0xbb];

    /// From [2001:db8::1]:1 to [2001:db8::2]:65535.
    fn block6() -> Vec<u8> {
        let ip = |last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).octets();
        [&ip(1)[..], &ip(2), &[0, 1, 255, 255]].concat()
    }

    /// A header whose last TLV but one is a checksum that holds.
    fn checked(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let tlvs = [tlv(1, b"http/1.1"), tlv(CHECKSUM, &[0; 4]), tlv(4, &[0; 9])].concat();
        let mut header = whole(command, family, &[addresses, &tlvs].concat());
        let at = header.len() - 12 - 4;
        let sum = crc32c([&header, &[], &[]]);
        header[at..at + 4].copy_from_slice(&sum.to_be_bytes());
        header
    }

    /// Headers that are good, and whom they name.
    fn good() -> Vec<(Vec<u8>, Named)> {
        let four = Some(("192.0.2.1:50000", "198.51.100.2:443"));
        let six = Some(("[2001:db8::1]:1", "[2001:db8::2]:65535"));
        let mut good: Vec<(Vec<u8>, _)> = Vec::new();
        let long = format!("PROXY UNKNOWN {}\r\n", "f".repeat(91));
        let mapped = format!("{}:255.255.255.255", ["ffff"; 6].join(":"));
        for (line, named) in [
            ("PROXY TCP4 192.0.2.1 198.51.100.2 50000 443\r\n", four),
            ("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", {
                Some(("0.0.0.0:0", "255.255.255.255:65535"))
            }),
            ("PROXY TCP6 2001:db8::1 2001:DB8:0:0:0:0:0:2 1 65535\r\n", six),
            ("PROXY TCP6 2001:0db8::0001 2001:db8::0.0.0.2 1 65535\r\n", six),
            ("PROXY TCP6 ::ffff:192.0.2.1 :: 7 8\r\n", Some(("[::ffff:192.0.2.1]:7", "[::]:8"))),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN \r\n", None),
            ("PROXY UNKNOWN TCP4 \0 what\u{20ac} ever\t\r\n", None),
            (&long, None),
            (&format!("PROXY TCP6 {mapped} :: 65535 65535\r\n"), {
                Some(("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", "[::]:65535"))
            }),
        ] {
            good.push((line.into(), named));
        }
        good.extend([
            (whole(0x21, 0x11, BLOCK4), four),
            (whole(0x21, 0x21, &block6()), six),
            (whole(0x21, 0x31, &[b'/'; 216]), None),
            (whole(0x21, 0x00, b""), None),
            (whole(0x21, 0x01, b""), None),
            (whole(0x21, 0x00, b"\x01\x02"), None),
            (whole(0x20, 0x00, b""), None),
            (whole(0x20, 0x00, &tlv(5, b"id")), None),
            (whole(0x20, 0x11, BLOCK4), None),
            (whole(0x20, 0x11, b"short"), None),
            (whole(0x20, 0xff, BLOCK4), None),
            (whole(0x20, 0x22, &tlv(CHECKSUM, b"")), None),
            (whole(0x21, 0x11, &[BLOCK4, &tlv(2, b"a.example"), &tlv(0xea, b"")].concat()), four),
            (whole(0x21, 0x11, &[BLOCK4, &tlv(4, &[0; MOST - FIXED - 15])].concat()), four),
            (checked(0x21, 0x11, BLOCK4), four),
            (checked(0x21, 0x21, &block6()), six),
            (checked(0x21, 0x31, &[0; 216]), None),
            (checked(0x21, 0x00, b""), None),
            (checked(0x20, 0x00, b""), None),
        ]);
        good
    }

    #[test]
    fn a_good_header_names_source_and_destination() {
        for (octets, named) in good() {
            let shown = octets.escape_ascii().to_string();
            let ends = named.map(|(from, to)| (end(from), end(to)));
            let expected = ProxyHeader::new(octets.len(), ends);
            assert!(octets.len() <= MOST, "{shown}");
            assert_eq!(judged(&octets), Some(Ok(expected)), "{shown}");
            for end in 0..octets.len() {
                assert_eq!(read(&octets[..end]), Ok(Progress::Partial), "{end} octets of {shown}");
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_told_or_changes_what_is_told() {
        for (octets, _) in good() {
            for at in 0..octets.len() {
                for bit in 0..8 {
                    let mut octets = octets.clone();
                    octets[at] ^= 1 << bit;
                    if let Ok(Progress::Complete(header)) = read(&octets) {
                        assert!(header.len <= octets.len() && header.len <= MOST);
                        assert_eq!(header.source.is_some(), header.destination.is_some());
                    }
                }
            }
        }
        // With a checksum nothing passes unseen, unless it is no longer called one.
        let octets = checked(0x21, 0x11, BLOCK4);
        let name = FIXED + BLOCK4.len() + tlv(1, b"http/1.1").len();
        for at in (0..octets.len()).filter(|at| *at != name) {
            let mut octets = octets.clone();
            octets[at] ^= 1;
            assert!(!matches!(read(&octets), Ok(Progress::Complete(_))), "{at}");
        }
    }

    #[test]
    fn a_line_is_exactly_as_it_has_to_be() {
        let (most, more) = ("f".repeat(91), "f".repeat(92));
        let mapped = format!("{}:255.255.255.255", ["ffff"; 6].join(":"));
        for (line, error) in [
            ("PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n", Transport),
            ("PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n", Transport),
            ("PROXY TCP5", Transport),
            ("PROXY TCP4\t", Transport),
            ("PROXY TCP4\r\n", Transport),
            ("PROXY TCP46 ", Transport),
            ("PROXY UDP4", Transport),
            ("PROXY UNKNOWNS", Transport),
            ("PROXY \r\n", Transport),
            ("PROXY TCP4  1.2.3.4", Address),
            ("PROXY TCP4 \t", Address),
            ("PROXY TCP4 01.2.3.4 ", Address),
            ("PROXY TCP4 1.2.3.00", Address),
            ("PROXY TCP4 1.2.3.256", Address),
            ("PROXY TCP4 1.2.3 ", Address),
            ("PROXY TCP4 1.2.3. ", Address),
            ("PROXY TCP4 1..", Address),
            ("PROXY TCP4 .", Address),
            ("PROXY TCP4 1.2.3.4.", Address),
            ("PROXY TCP4 +1", Address),
            ("PROXY TCP4 0x7f", Address),
            ("PROXY TCP4 ::1", Address),
            ("PROXY TCP4 1.2.3.4 ::1", Address),
            ("PROXY TCP4 1.2.3.4\t", Address),
            ("PROXY TCP4 1.2.3\r\n", Address),
            ("PROXY TCP6 1.2.3.4 ", Address),
            ("PROXY TCP6 ::1 1.2.3.4 ", Address),
            ("PROXY TCP6 [", Address),
            ("PROXY TCP6 fe80::1%", Address),
            ("PROXY TCP6 1::2::3 ", Address),
            ("PROXY TCP6 00001:: ", Address),
            ("PROXY TCP6 1:2:3:4:5:6:7 ", Address),
            ("PROXY TCP6 1:2:3:4:5:6:7:8:9 ", Address),
            ("PROXY TCP6 ::ffff:1.2.3.04 ", Address),
            (&format!("PROXY TCP6 {}", ":".repeat(46)), Address),
            ("PROXY TCP4 1.2.3.4 1.2.3.4  ", Port),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 \r\n", Port),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 01", Port),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 00", Port),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 65536", Port),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 +1", Port),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 -1", Port),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 x", Port),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 \r\n", Port),
            ("PROXY TCP4 1.2.3.4\r\n", Fields),
            ("PROXY TCP4 1.2.3.4 1.2.3.4\r\n", Fields),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", Fields),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 ", Fields),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", LineEnd),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\rx", LineEnd),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\r\n", LineEnd),
            ("PROXY TCP4 1.2.3.4\n", LineEnd),
            ("PROXY UNKNOWN\n", LineEnd),
            ("PROXY UNKNOWN a\nb\r\n", LineEnd),
            ("PROXY UNKNOWN a\rb\r\n", LineEnd),
            (&format!("PROXY UNKNOWN {more}\r\n"), LineTooLong),
            (&format!("PROXY UNKNOWN {most} "), LineTooLong),
            (&format!("PROXY TCP6 {mapped} {mapped} 1 2\r\n"), LineTooLong),
        ] {
            assert_eq!(judged(line.as_bytes()), Some(Err(error)), "{line:?}");
        }
    }

    #[test]
    fn what_is_no_header_is_refused_at_the_first_octet_that_tells() {
        for (octets, at) in [
            ("GET / HTTP/1.1\r\n", 0),
            ("POST /", 1),
            ("PUT /", 1),
            ("PRI * HTTP/2.0", 2),
            ("PROPFIND /", 3),
            ("PROXYX", 5),
            ("PROXY\r\n", 5),
            ("PROXY GET", 6),
            ("proxy TCP4", 0),
            ("\n", 0),
            ("\r\nGET /", 2),
            ("\r\n\r\nGET /", 4),
            ("\r\n\r\n\0\r\nQUIT\r", 11),
            ("\x16\x03\x01", 0),
            ("SSH-2.0", 0),
            (" PROXY", 0),
            ("\0", 0),
        ] {
            let octets = octets.as_bytes();
            assert_eq!(read(&octets[..at]), Ok(Progress::Partial), "{octets:?}");
            let error = if at == 6 { Transport } else { Missing };
            assert_eq!(read(&octets[..=at]), Err(error), "{octets:?}");
            assert_eq!(judged(octets), Some(Err(error)), "{octets:?}");
        }
    }

    #[test]
    fn a_binary_header_is_exactly_as_it_has_to_be() {
        let with = |tlvs: &[u8]| whole(0x21, 0x11, &[BLOCK4, tlvs].concat());
        let sum = tlv(CHECKSUM, &[1, 2, 3, 4]);
        for (octets, error) in [
            (v2(0x01, 0x11, 12, BLOCK4), Version),
            (v2(0x11, 0x11, 12, BLOCK4), Version),
            (v2(0x31, 0x11, 12, BLOCK4), Version),
            (v2(0x22, 0x11, 12, BLOCK4), Command),
            (v2(0x2f, 0x11, 12, BLOCK4), Command),
            (v2(0x21, 0x41, 12, BLOCK4), Family),
            (v2(0x21, 0xf1, 12, BLOCK4), Family),
            (v2(0x21, 0x10, 12, BLOCK4), Protocol),
            (v2(0x21, 0x13, 12, BLOCK4), Protocol),
            (v2(0x21, 0x03, 0, b""), Protocol),
            (v2(0x21, 0x02, 0, b""), Datagram),
            (v2(0x21, 0x12, 12, BLOCK4), Datagram),
            (v2(0x21, 0x22, 36, b""), Datagram),
            (v2(0x21, 0x32, 216, b""), Datagram),
            (v2(0x21, 0x11, 2033, b""), TooLong),
            (v2(0x20, 0x00, 2033, b""), TooLong),
            (v2(0x21, 0x11, 0xffff, b""), TooLong),
            (v2(0x21, 0x11, 11, b""), TooShort),
            (v2(0x21, 0x11, 0, b""), TooShort),
            (v2(0x21, 0x21, 35, b""), TooShort),
            (v2(0x21, 0x31, 215, b""), TooShort),
            (with(&[4]), Tlv),
            (with(&[4, 0]), Tlv),
            (with(&[4, 0, 1]), Tlv),
            (with(&[4, 255, 255, 0]), Tlv),
            (with(&[&tlv(2, b"a")[..], &[0]].concat()), Tlv),
            (with(&tlv(CHECKSUM, b"")), ChecksumTlv),
            (with(&tlv(CHECKSUM, &[0; 3])), ChecksumTlv),
            (with(&tlv(CHECKSUM, &[0; 5])), ChecksumTlv),
            (with(&[&sum[..], &sum].concat()), ChecksumTlv),
            (with(&sum), Checksum),
            (whole(0x21, 0x00, &sum), Checksum),
            (whole(0x20, 0x00, &sum), Checksum),
            (whole(0x20, 0x11, &[BLOCK4, &sum].concat()), Checksum),
            (whole(0x21, 0x31, &[&[0; 216], &sum[..]].concat()), Checksum),
        ] {
            let shown = octets.escape_ascii().to_string();
            assert_eq!(judged(&octets), Some(Err(error)), "{shown}");
        }
        assert_eq!(judged(&v2(0x21, 0x11, 2032, b"")), None);
    }

    #[test]
    fn the_checksum_is_that_of_the_rfc() {
        // RFC 3720 appendix B.4.
        let ascending: Vec<u8> = (0..32).collect();
        for (octets, sum) in [
            (&[0; 32][..], 0x8a91_36aa),
            (&[0xff; 32], 0x62a8_ab43),
            (&ascending, 0x46dd_794e),
            (b"123456789", 0xe306_9283),
        ] {
            assert_eq!(crc32c([octets, &[], &[]]), sum);
            let (front, back) = octets.split_at(5);
            assert_eq!(crc32c([front, &back[..2], &back[2..]]), sum);
        }
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        let ends = [
            "192.0.2.1:0",
            "255.255.255.255:65535",
            "[::]:1",
            "[::ffff:198.51.100.7]:80",
            "[2001:db8:1111:2222:3333:4444:5555:6666]:65535",
            "[::192.0.2.1]:9",
        ];
        let ends = ends.map(end);
        let pairs = ends.iter().flat_map(|from| ends.iter().map(move |to| Some((*from, *to))));
        for pair in pairs.chain([None]) {
            for write in [write_v1, write_v2] {
                let mut out = b"before".to_vec();
                write(pair, &mut out);
                let header = out.strip_prefix(b"before").unwrap();
                let expected = ProxyHeader::new(header.len(), pair.map(of_one_family));
                assert_eq!(judged(header), Some(Ok(expected)), "{}", header.escape_ascii());
            }
        }
    }

    #[test]
    fn what_is_written_is_what_the_specification_shows() {
        let pair = |from: &str, to: &str| Some((end(from), end(to)));
        for (pair, line) in [
            (
                pair("192.168.0.1:56324", "192.168.0.11:443"),
                "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n",
            ),
            (pair("[2001:DB8::1]:1", "[::]:2"), "PROXY TCP6 2001:db8::1 :: 1 2\r\n"),
            (pair("192.0.2.1:1", "[::1]:2"), "PROXY TCP6 ::ffff:c000:201 ::1 1 2\r\n"),
            (pair("[::1%3]:1", "192.0.2.1:2"), "PROXY TCP6 ::1 ::ffff:c000:201 1 2\r\n"),
            (None, "PROXY UNKNOWN\r\n"),
        ] {
            let mut out = Vec::new();
            write_v1(pair, &mut out);
            assert_eq!(out, line.as_bytes(), "{line}");
        }
        let mut out = Vec::new();
        write_v2(pair("192.0.2.1:50000", "198.51.100.2:443"), &mut out);
        assert_eq!(out, whole(0x21, 0x11, BLOCK4));
        out.clear();
        write_v2(pair("[2001:db8::1]:1", "[2001:db8::2]:65535"), &mut out);
        assert_eq!(out, whole(0x21, 0x21, &block6()));
        out.clear();
        write_v2(None, &mut out);
        assert_eq!(out, whole(0x20, 0, b""));
    }

    #[test]
    fn every_error_has_its_own_name() {
        for (i, error) in ProxyHeaderError::ALL.iter().enumerate() {
            let (label, explain) = (error.label(), error.explain());
            assert!(
                !explain.is_empty() && label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
            );
            let others = &ProxyHeaderError::ALL[i + 1..];
            assert!(others.iter().all(|o| o.label() != label && o.explain() != explain));
        }
    }
}
