//! The field names that mean something to a proxy: one table, and the look-up that each field of a head goes through
//! once.

/// What is to be known of a name: a set of the flags below.
pub type Flags = u8;

/// We read it, write it or take it away. So nothing that an origin may take for it passes (see [`Name::Lookalike`]),
/// and no setting may name it.
pub const OURS: Flags = 1;
/// It is about one connection, not about the message (RFC 9110 section 7.6.1), or between a client and the proxy it
/// chose (section 11.7), and never passes as it came.
pub const HOP_BY_HOP: Flags = 2;
/// What a proxy says about the client before it: passes if that proxy is trusted.
pub const CLAIM: Flags = 4;
/// A message or a handshake needs it to be understood, or it is the trail that proxies leave: `Connection` cannot take
/// it away. RFC 9110 section 7.6.1 forbids senders to name those; doing nothing about it is the safe answer.
pub const NEEDED: Flags = 8;

/// A row for each: `Variant "Name" flags "source"`. None of them may be a trailer (RFC 9110 section 6.5.1): each must
/// be known before the content, or steers how a message is framed, routed, authenticated or cached.
macro_rules! names {
    ($($variant:ident $name:literal $flags:expr, $source:literal;)*) => {
        /// The field names that mean something to a proxy.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Name {
            $(#[doc = concat!("`", $name, "` (", $source, ")")] $variant,)*
            /// `X-Client-Subject` (our own): it has the slot of `X-Forwarded-Host`, and is looked for behind it.
            XClientSubject,
            /// None of these, but it becomes one of [`OURS`] where `_` and `-` are the same, as for CGI and WSGI, or
            /// all that is neither letter nor digit, as for PHP: `X_Forwarded_For`, `X.Forwarded.For`.
            Lookalike,
            /// Any other name.
            Other,
        }

        const TABLE: &[(&str, Name)] = &[$(($name, Name::$variant),)*];

        static FLAGS: [Flags; Name::Other as usize + 1] =
            [$($flags,)* OURS | CLAIM | NEEDED, OURS, 0];
    };
}

names! {
    // What a message is, and where it goes.
    Host "Host" OURS, "RFC 9110 section 7.2";
    ContentLength "Content-Length" OURS, "RFC 9110 section 8.6";
    TransferEncoding "Transfer-Encoding" OURS | HOP_BY_HOP, "RFC 9112 section 6.1";
    Connection "Connection" OURS | HOP_BY_HOP, "RFC 9110 section 7.6.1";
    KeepAlive "Keep-Alive" OURS | HOP_BY_HOP, "RFC 2068 section 19.7.1.1";
    ProxyConnection "Proxy-Connection" OURS | HOP_BY_HOP, "RFC 9112 appendix C.2.2";
    Te "TE" OURS | HOP_BY_HOP, "RFC 9110 section 10.1.4";
    Trailer "Trailer" OURS | NEEDED, "RFC 9110 section 6.6.2";
    Upgrade "Upgrade" OURS | HOP_BY_HOP, "RFC 9110 section 7.8";
    Expect "Expect" OURS, "RFC 9110 section 10.1.1";
    MaxForwards "Max-Forwards" OURS | NEEDED, "RFC 9110 section 7.6.2";
    Via "Via" OURS | NEEDED, "RFC 9110 section 7.6.3";
    Date "Date" OURS | NEEDED, "RFC 9110 section 6.6.1";

    // The client. CGI turns `Proxy`, which no standard defines, into `HTTP_PROXY`, and many libraries obey that.
    Proxy "Proxy" OURS, "CVE-2016-5385";
    XForwardedFor "X-Forwarded-For" OURS | CLAIM | NEEDED, "RFC 7239 section 1";
    XForwardedProto "X-Forwarded-Proto" OURS | CLAIM | NEEDED, "RFC 7239 section 1";
    XForwardedHost "X-Forwarded-Host" OURS | CLAIM | NEEDED, "RFC 7239 section 1";
    XForwardedOther "X-Forwarded" OURS | CLAIM | NEEDED, "and any other `X-Forwarded-...`";
    XRealIp "X-Real-IP" OURS | CLAIM | NEEDED, "custom of nginx";
    Forwarded "Forwarded" OURS | CLAIM | NEEDED, "RFC 7239 section 4";
    XRequestId "X-Request-Id" OURS | NEEDED, "custom";
    XBackendServer "X-Backend-Server" OURS | NEEDED, "our own";
    ClientCert "Client-Cert" OURS | CLAIM | NEEDED, "RFC 9440 section 2.2";
    ClientCertChain "Client-Cert-Chain" OURS | CLAIM | NEEDED, "RFC 9440 section 2.3";
    UserAgent "User-Agent" OURS, "RFC 9110 section 10.1.5";
    Referer "Referer" OURS, "RFC 9110 section 10.1.3";
    Server "Server" OURS, "RFC 9110 section 10.2.4";
    ProxyAuthenticate "Proxy-Authenticate" OURS | HOP_BY_HOP, "RFC 9110 section 11.7.1";
    ProxyAuthenticationInfo "Proxy-Authentication-Info" OURS | HOP_BY_HOP, "RFC 9110 section 11.7.3";
    ProxyAuthorization "Proxy-Authorization" OURS | HOP_BY_HOP, "RFC 9110 section 11.7.2";

    // A handshake.
    SecWebSocketKey "Sec-WebSocket-Key" OURS | NEEDED, "RFC 6455 section 11.3.1";
    SecWebSocketExtensions "Sec-WebSocket-Extensions" OURS | NEEDED, "RFC 6455 section 11.3.2";
    SecWebSocketAccept "Sec-WebSocket-Accept" OURS | NEEDED, "RFC 6455 section 11.3.3";
    SecWebSocketProtocol "Sec-WebSocket-Protocol" OURS | NEEDED, "RFC 6455 section 11.3.4";
    SecWebSocketVersion "Sec-WebSocket-Version" OURS | NEEDED, "RFC 6455 section 11.3.5";

    // These pass as they are; only a trailer they may not be.
    Accept "Accept" 0, "RFC 9110 section 12.5.1";
    AcceptRanges "Accept-Ranges" 0, "RFC 9110 section 14.3";
    Age "Age" 0, "RFC 9111 section 5.1";
    Allow "Allow" 0, "RFC 9110 section 10.2.1";
    Authorization "Authorization" 0, "RFC 9110 section 11.6.2";
    AuthenticationInfo "Authentication-Info" 0, "RFC 9110 section 11.6.3";
    CacheControl "Cache-Control" 0, "RFC 9111 section 5.2";
    ContentEncoding "Content-Encoding" 0, "RFC 9110 section 8.4";
    ContentLanguage "Content-Language" 0, "RFC 9110 section 8.5";
    ContentLocation "Content-Location" 0, "RFC 9110 section 8.7";
    ContentRange "Content-Range" 0, "RFC 9110 section 14.4";
    ContentType "Content-Type" 0, "RFC 9110 section 8.3";
    Cookie "Cookie" 0, "RFC 6265 section 5.4";
    Expires "Expires" 0, "RFC 9111 section 5.3";
    IfMatch "If-Match" 0, "RFC 9110 section 13.1.1";
    IfNoneMatch "If-None-Match" 0, "RFC 9110 section 13.1.2";
    IfModifiedSince "If-Modified-Since" 0, "RFC 9110 section 13.1.3";
    IfUnmodifiedSince "If-Unmodified-Since" 0, "RFC 9110 section 13.1.4";
    IfRange "If-Range" 0, "RFC 9110 section 13.1.5";
    LastModified "Last-Modified" 0, "RFC 9110 section 8.8.2";
    Location "Location" 0, "RFC 9110 section 10.2.2";
    Pragma "Pragma" 0, "RFC 9111 section 5.4";
    Range "Range" 0, "RFC 9110 section 14.2";
    RetryAfter "Retry-After" 0, "RFC 9110 section 10.2.3";
    SetCookie "Set-Cookie" 0, "RFC 6265 section 4.1";
    Vary "Vary" 0, "RFC 9110 section 12.5.5";
    WwwAuthenticate "WWW-Authenticate" 0, "RFC 9110 section 11.6.1";
}

/// The rows by the slot of their names. Length and both ends of a name tell its slot, and no two rows share one, so
/// that a look-up compares once at most.
static ROWS: [u8; SLOTS] = {
    let mut slots = [EMPTY; SLOTS];
    let mut row = 0;
    while row < TABLE.len() {
        let slot = slot(TABLE[row].0.as_bytes());
        assert!(slots[slot] == EMPTY, "two names in one slot: find other factors");
        slots[slot] = row as u8;
        row += 1;
    }
    slots
};

const SLOTS: usize = 256;
const EMPTY: u8 = u8::MAX;

/// The slot of a name that is not empty, whatever its case. The factors were found by trial.
const fn slot(name: &[u8]) -> usize {
    let (first, last) = (name[0] | 0x20, name[name.len() - 1] | 0x20);
    (name.len() + 16 * first as usize + 9 * last as usize) % SLOTS
}

/// The field that has a client's certificate (RFC 9440 section 2.2).
pub const CERTIFICATE: &str = "Client-Cert";
/// The field that has its subject; our own.
pub const SUBJECT: &str = "X-Client-Subject";
/// Fields that tell of a client's certificate.
pub const OF_CERTIFICATES: [&str; 4] =
    [CERTIFICATE, "Client-Cert-Chain", SUBJECT, "X-Forwarded-Client-Cert"];

impl Name {
    /// Looks `name` up, whatever its case.
    pub fn of(name: &[u8]) -> Name {
        if name.is_empty() {
            return Name::Other;
        }
        let Some((text, id)) = TABLE.get(usize::from(ROWS[slot(name)])) else {
            return Name::other(name);
        };
        // Most senders write a name as its document does.
        if name == text.as_bytes() || name.eq_ignore_ascii_case(text.as_bytes()) {
            return *id;
        }
        if id.is(OURS) && looks_like(name, text.as_bytes()) {
            return Name::Lookalike;
        }
        Name::other(name)
    }

    fn other(name: &[u8]) -> Name {
        const FORWARDED: &[u8] = b"x-forwarded-";
        // Most names begin with another letter, and are looked at no further.
        match name.get(..FORWARDED.len()) {
            Some(start) if start[0] | 0x20 == b'x' && looks_like(start, FORWARDED) => {
                let same = start.eq_ignore_ascii_case(FORWARDED);
                if same { Name::XForwardedOther } else { Name::Lookalike }
            }
            Some(start) if start[0] | 0x20 == b'x' && looks_like(name, SUBJECT.as_bytes()) => {
                let same = name.eq_ignore_ascii_case(SUBJECT.as_bytes());
                if same { Name::XClientSubject } else { Name::Lookalike }
            }
            _ => Name::Other,
        }
    }

    /// Whether the name has any of `flags`.
    pub fn is(self, flags: Flags) -> bool {
        FLAGS[self as usize] & flags != 0
    }
}

/// Each octet as those see it who tell only letters and digits apart.
const FOLDED: [u8; 256] = {
    let mut folded = [b'-'; 256];
    let mut octet = 0;
    while octet < 256 {
        let b = octet as u8;
        if b.is_ascii_alphanumeric() {
            folded[octet] = b.to_ascii_lowercase();
        }
        octet += 1;
    }
    folded
};

/// Whether two names are the same to such people.
pub fn looks_like(name: &[u8], other: &[u8]) -> bool {
    let folded = |b: &u8| FOLDED[usize::from(*b)];
    name.len() == other.len() && name.iter().map(folded).eq(other.iter().map(folded))
}

/// Whether `name` is one of `names`, or looks like one.
pub fn is_among(name: &[u8], names: &[String]) -> bool {
    names.iter().any(|other| looks_like(name, other.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_whatever_its_case() {
        for (text, id) in TABLE {
            for text in [text.to_string(), text.to_ascii_uppercase(), text.to_ascii_lowercase()] {
                assert_eq!(Name::of(text.as_bytes()), *id, "{text}");
            }
            let other = text.replace('-', "_");
            let lookalike = if id.is(OURS) { Name::Lookalike } else { Name::Other };
            let expected = if other == *text { *id } else { lookalike };
            assert_eq!(Name::of(other.as_bytes()), expected, "{other}");
        }
    }

    #[test]
    fn what_is_none_of_them_may_look_like_one() {
        for (text, id) in [
            ("sec_websocket_key", Name::Lookalike),
            ("x-forwarded-port", Name::XForwardedOther),
            ("x-forwarded-", Name::XForwardedOther),
            ("x-forwarded", Name::XForwardedOther),
            ("x_forwarded", Name::Lookalike),
            ("x-forwardee", Name::Other),
            ("x.forwarded.for", Name::Lookalike),
            ("x-forwarded!port", Name::Lookalike),
            ("x'real'ip", Name::Lookalike),
            ("xxforwarded-for", Name::Other),
            ("x-real-op", Name::Other),
            ("content_length", Name::Lookalike),
            ("content_type", Name::Other),
            ("x_forwarded-for", Name::Lookalike),
            ("x-forwarded_user", Name::Lookalike),
            ("x-client-subject", Name::XClientSubject),
            ("x_client.subject", Name::Lookalike),
            ("x-client-subjects", Name::Other),
            ("client_cert", Name::Lookalike),
            ("client-cert_chain", Name::Lookalike),
            ("user_name", Name::Other),
            ("", Name::Other),
        ] {
            assert_eq!(Name::of(text.as_bytes()), id, "{text}");
            assert_eq!(Name::of(text.to_ascii_uppercase().as_bytes()), id, "{text}");
        }
    }

    #[test]
    fn a_name_is_among_others_in_any_spelling() {
        let names = ["True-Client-IP", "X_Original_URL"].map(str::to_owned);
        for same in ["True-Client-IP", "true_client.ip", "X-ORIGINAL-URL", "x_original_url"] {
            assert!(is_among(same.as_bytes(), &names), "{same}");
        }
        for other in ["True-Client-I", "True-Client-IPs", "TrueClientIP", "True-Client0IP", ""] {
            assert!(!is_among(other.as_bytes(), &names), "{other}");
        }
        assert!(!is_among(b"", &[]));
    }
}
