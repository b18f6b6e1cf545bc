//! Writing into a buffer.

use std::net::IpAddr;

/// What is sent when a client waits for leave to send its body.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The name in `Via` and `Proxy-Status`.
pub(super) const SELF: &str = "tidegate";

/// The buffer has no room for what is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Writes into a buffer from its beginning. After [`Full`] what was written so far is of no use.
#[derive(Debug)]
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    /// A writer at the beginning of `buffer`.
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Writer { buffer, len: 0 }
    }

    /// Writes `bytes`, all or nothing.
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let room = self.buffer.get_mut(self.len..self.len + bytes.len()).ok_or(Full)?;
        room.copy_from_slice(bytes);
        self.len += bytes.len();
        Ok(())
    }

    /// Writes each of `parts`.
    #[inline]
    pub fn put_all<const N: usize>(&mut self, parts: &[&[u8]; N]) -> Result<(), Full> {
        parts.iter().try_for_each(|part| self.put(part))
    }

    /// Writes a decimal number.
    pub fn decimal(&mut self, number: u64) -> Result<(), Full> {
        let mut text = [0; 20];
        self.put(decimal(number, &mut text))
    }

    /// Writes an address; IPv6 without brackets (RFC 5952), and an IPv4 address mapped into IPv6 as
    /// IPv4.
    pub fn ip(&mut self, ip: IpAddr) -> Result<(), Full> {
        match ip.to_canonical() {
            IpAddr::V4(ip) => self.ipv4(ip.octets()),
            IpAddr::V6(ip) => self.ipv6(ip.segments()),
        }
    }

    fn ipv4(&mut self, octets: [u8; 4]) -> Result<(), Full> {
        let mut text = *b"255.255.255.255";
        let mut len = 0;
        for (at, octet) in octets.into_iter().enumerate() {
            if at > 0 {
                text[len] = b'.';
                len += 1;
            }
            for power in [100, 10, 1] {
                if octet >= power || power == 1 {
                    text[len] = b'0' + octet / power % 10;
                    len += 1;
                }
            }
        }
        self.put(&text[..len])
    }

    pub(super) fn ipv6(&mut self, segments: [u16; 8]) -> Result<(), Full> {
        let gap = longest_zeros(&segments);
        let mut at = 0;
        while at < 8 {
            if at == gap.start && gap.len() > 1 {
                self.put(b"::")?;
                at = gap.end;
                continue;
            }
            if at > 0 && at != gap.end {
                self.put(b":")?;
            }
            let mut text = [0; 16];
            self.put(hexadecimal(segments[at].into(), &mut text))?;
            at += 1;
        }
        Ok(())
    }

    /// Octets written.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What was written.
    pub fn written(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

/// The first of the longest runs of zero segments; shorter than 2 means there is none to shorten.
fn longest_zeros(segments: &[u16; 8]) -> std::ops::Range<usize> {
    let mut best = 0..0;
    let mut start = 0;
    for (at, segment) in segments.iter().enumerate() {
        if *segment != 0 {
            start = at + 1;
        } else if at + 1 - start > best.len() {
            best = start..at + 1;
        }
    }
    if best.len() > 1 { best } else { 8..8 }
}

/// The digits of `number` to base 10, without leading zeros.
pub fn decimal(mut number: u64, text: &mut [u8; 20]) -> &[u8] {
    let mut at = text.len();
    loop {
        at -= 1;
        text[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &text[at..];
        }
    }
}

/// The digits of `number` to base 16, in lower case, without leading zeros.
pub(super) fn hexadecimal(mut number: u64, text: &mut [u8; 16]) -> &[u8] {
    let mut at = text.len();
    loop {
        at -= 1;
        text[at] = b"0123456789abcdef"[(number % 16) as usize];
        number /= 16;
        if number == 0 {
            return &text[at..];
        }
    }
}

/// Appends a field line (RFC 9112 section 5). Neither part may have a line end in it.
pub fn field_line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// The reason phrase of a status code (RFC 9110 section 15 and the registry); empty if there is
/// none.
pub fn phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        511 => "Network Authentication Required",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    fn written(write: impl FnOnce(&mut Writer) -> Result<(), Full>) -> String {
        let mut buffer = [0; 2048];
        let mut writer = Writer::new(&mut buffer);
        write(&mut writer).unwrap();
        String::from_utf8(writer.written().to_vec()).unwrap()
    }

    #[test]
    fn numbers_and_addresses_look_as_the_standard_library_writes_them() {
        for number in [0, 7, 10, 99, 100, 65_535, u64::MAX] {
            assert_eq!(written(|out| out.decimal(number)), number.to_string());
        }
        for (ip, text) in [
            ("127.0.0.1", "127.0.0.1"),
            ("255.10.0.99", "255.10.0.99"),
            ("::", "::"),
            ("::1", "::1"),
            ("1::", "1::"),
            ("2001:db8::8:800:200c:417a", "2001:db8::8:800:200c:417a"),
            ("1:0:0:2:0:0:0:3", "1:0:0:2::3"),
            ("1:0:2:0:3:0:4:0", "1:0:2:0:3:0:4:0"),
            ("0:0:1:2:3:4:0:0", "::1:2:3:4:0:0"),
            ("fe80::1:0:0:ffff", "fe80::1:0:0:ffff"),
            ("::ffff:10.1.2.3", "10.1.2.3"),
        ] {
            let ip = IpAddr::from_str(ip).unwrap();
            assert_eq!(written(|out| out.ip(ip)), text);
        }
    }

    #[test]
    fn a_full_buffer_says_so_and_stays_as_it_was() {
        let mut buffer = [0; 4];
        let mut writer = Writer::new(&mut buffer);
        assert_eq!(writer.put(b"abc"), Ok(()));
        assert_eq!(writer.put(b"de"), Err(Full));
        assert_eq!(writer.put(b"d"), Ok(()));
        assert_eq!((writer.written(), writer.len()), (&b"abcd"[..], 4));
        assert_eq!(writer.put(b""), Ok(()));
    }
}
