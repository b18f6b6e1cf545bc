//! Why a request ended: one table, used by the answer, the log, the metrics and `Proxy-Status`
//! alike.

/// Whose doing it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Nobody's: all went well.
    Nobody,
    /// The client's.
    Client,
    /// The upstream's, or the way to it.
    Upstream,
    /// Our own.
    Proxy,
}

impl Fault {
    /// Its name in logs and metrics; `None`: nobody's.
    pub const fn label(self) -> Option<&'static str> {
        match self {
            Fault::Nobody => None,
            Fault::Client => Some("client"),
            Fault::Upstream => Some("upstream"),
            Fault::Proxy => Some("proxy"),
        }
    }
}

/// A row: `Variant label fault status error_type "explanation"`, `-` meaning "none".
macro_rules! reasons {
    (@status -) => { None };
    (@status $status:literal) => { Some($status) };
    (@error -) => { None };
    (@error $error:ident) => { Some(stringify!($error)) };
    ($($variant:ident $label:ident $fault:ident $status:tt $error:tt $explain:literal;)*) => {
        /// Why a request, or the connection it came on, ended.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Reason {
            $(#[doc = $explain] $variant,)*
        }

        impl Reason {
            /// Every reason, in the order of [`Reason::index`].
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)*];

            /// The name in logs and metrics, in snake case.
            pub const fn label(self) -> &'static str {
                match self { $(Reason::$variant => stringify!($label),)* }
            }

            /// Whose doing it was.
            pub const fn fault(self) -> Fault {
                match self { $(Reason::$variant => Fault::$fault,)* }
            }

            /// The status to answer with, if there still is somebody to answer and nothing was sent
            /// yet. 499 is for the log only.
            pub const fn status(self) -> Option<u16> {
                match self { $(Reason::$variant => reasons!(@status $status),)* }
            }

            /// The error type for `Proxy-Status` (RFC 9209 section 2.3).
            pub const fn error_type(self) -> Option<&'static str> {
                match self { $(Reason::$variant => reasons!(@error $error),)* }
            }

            /// One sentence for a person; plain ASCII.
            pub const fn explain(self) -> &'static str {
                match self { $(Reason::$variant => $explain,)* }
            }
        }
    };
}

reasons! {
    Done done Nobody - -
        "The request was answered.";

    // The request line.
    TlsHandshake tls_handshake Client 400 http_request_error
        "A TLS handshake arrived where plain HTTP is spoken.";
    BadRequestLine bad_request_line Client 400 http_request_error
        "The request line is not `method SP target SP HTTP-version CRLF`.";
    BadMethod bad_method Client 400 http_request_error
        "The method is not a token.";
    BadTarget bad_target Client 400 http_request_error
        "The request target is not one this method may have.";
    TargetTooLong target_too_long Client 414 http_request_error
        "The request target is longer than tidegate accepts.";
    VersionNotSupported version_not_supported Client 505 http_request_error
        "Only HTTP/1.0 and HTTP/1.1 are spoken here.";
    ConnectNotSupported connect_not_supported Client 501 http_request_error
        "CONNECT is not implemented: this is a reverse proxy.";
    MaxForwardsSpent max_forwards_spent Client 405 http_request_error
        "Max-Forwards is 0, and tidegate has no answer of its own to this method.";

    // Field lines.
    BareLineFeed bare_line_feed Client 400 http_request_error
        "A line ends with LF alone instead of CRLF.";
    ObsFold obs_fold Client 400 http_request_error
        "A field line begins with white space (line folding).";
    BadFieldName bad_field_name Client 400 http_request_error
        "A field line has no colon, or its name is not a token.";
    WhitespaceBeforeColon whitespace_before_colon Client 400 http_request_error
        "There is white space between a field name and its colon.";
    BadFieldValue bad_field_value Client 400 http_request_error
        "A field value contains a control character.";
    HeadTooLarge head_too_large Client 431 http_request_error
        "The header section is larger than tidegate accepts.";
    TooManyFields too_many_fields Client 431 http_request_error
        "There are more field lines than tidegate accepts.";
    TooManyOptions too_many_options Client 400 http_request_error
        "Connection names more options than tidegate accepts.";

    // What the fields mean.
    MissingHost missing_host Client 400 http_request_error
        "An HTTP/1.1 request needs a Host field.";
    DuplicateHost duplicate_host Client 400 http_request_error
        "There is more than one Host field.";
    InvalidHost invalid_host Client 400 http_request_error
        "Host, or the authority of the target, is not a host with an optional port.";
    BadLength bad_length Client 400 http_request_error
        "Content-Length is not a decimal number of at most 2^63-1.";
    ConflictingLength conflicting_length Client 400 http_request_error
        "There is more than one Content-Length.";
    LengthAndTransferEncoding length_and_transfer_encoding Client 400 http_request_error
        "Content-Length and Transfer-Encoding came together.";
    BadTransferEncoding bad_transfer_encoding Client 400 http_request_error
        "Transfer-Encoding does not end in exactly one `chunked`.";
    TransferEncodingInHttp10 transfer_encoding_in_http10 Client 400 http_request_error
        "An HTTP/1.0 message cannot have a Transfer-Encoding.";
    UnsupportedTransferCoding unsupported_transfer_coding Client 501 http_request_error
        "The only transfer coding implemented is `chunked`.";
    UnknownExpectation unknown_expectation Client 417 http_request_error
        "The only expectation implemented is `100-continue`.";

    // What the connection is to become.
    UpgradeWithBody upgrade_with_body Client 400 http_request_error
        "A WebSocket handshake cannot have a body.";
    WebsocketVersion websocket_version Client 426 http_request_error
        "Only version 13 of the WebSocket protocol is spoken.";
    BadWebsocketKey bad_websocket_key Client 400 http_request_error
        "A WebSocket handshake needs one Sec-WebSocket-Key of 16 octets in base64.";

    // The request body.
    BadChunk bad_chunk Client 400 http_request_error
        "The chunked body is malformed.";
    BadTrailer bad_trailer Client 400 http_request_error
        "The trailer section is malformed or too large.";
    BodyTooLarge body_too_large Client 413 http_request_error
        "The body is larger than tidegate accepts.";
    BodyCutShort body_cut_short Client 400 http_request_error
        "The client closed in the middle of its body.";

    // Where it would go.
    Redirected redirected Nobody - -
        "A route answered with a redirect.";
    Responded responded Nobody - -
        "A route answered with a text of its own.";
    AdminBusy admin_busy Proxy 503 proxy_internal_error
        "The control plane was too busy to answer.";
    NoRoute no_route Client 404 http_request_error
        "No route matches this request.";
    MethodNotAllowed method_not_allowed Client 405 http_request_error
        "No route here takes this method.";
    AmbiguousPath ambiguous_path Client 400 http_request_error
        "Origins may take the path for one or another: dot segments, empty segments or encoded slashes.";

    // Whether it may.
    NetworkRefused network_refused Client 403 http_request_denied
        "Clients from this network are not served here.";
    UnsupportedMediaType unsupported_media_type Client 415 http_request_denied
        "The media type of the body is not accepted here.";
    ClientCertificateRequired client_certificate_required Client 403 http_request_denied
        "A client certificate is needed here, and there is none that is valid.";
    NoCredentials no_credentials Client 401 http_request_denied
        "The request has no credentials, and needs some.";
    BadCredentials bad_credentials Client 401 http_request_denied
        "The credentials are wrong, or no longer valid.";
    AmbiguousCredentials ambiguous_credentials Client 400 http_request_denied
        "The credentials are malformed, too long, or differ from each other.";
    AuthFieldsTooLarge auth_fields_too_large Client 431 http_request_error
        "The fields are larger than what the auth service can be asked with.";
    RoleMissing role_missing Client 403 http_request_denied
        "The user has none of the roles that are needed here.";
    AuthRefused auth_refused Client 403 http_request_denied
        "The service that decides about requests refused this one.";
    AuthUnavailable auth_unavailable Proxy 503 proxy_internal_error
        "The credentials cannot be checked at the moment.";
    RateLimited rate_limited Client 429 http_request_denied
        "There were too many requests; Retry-After says when to send the next.";
    PreflightAnswered preflight_answered Nobody - -
        "A preflight was answered; the request that it announces may follow.";
    CorsRefused cors_refused Client 403 http_request_denied
        "Scripts of this origin may not send such a request.";

    // The client's patience and ours.
    HeadTimeout head_timeout Client 408 http_request_error
        "The request head did not arrive in time.";
    BodyTimeout body_timeout Client 408 http_request_error
        "The request body stopped arriving.";
    BodyTooSlow body_too_slow Client 408 http_request_error
        "The request body came slower than tidegate accepts.";
    ClientGone client_gone Client 499 -
        "The client closed before it was answered.";
    ClientReset client_reset Client 499 -
        "The client reset the connection.";
    ClientWriteTimeout client_write_timeout Client - -
        "The client stopped reading the answer.";

    // The way to the upstream.
    NoUpstream no_upstream Upstream 503 destination_unavailable
        "No upstream is available.";
    CircuitOpen circuit_open Upstream 503 destination_unavailable
        "The upstreams have failed too often, and are left alone for a while.";
    QueueFull queue_full Upstream 503 connection_limit_reached
        "The upstreams have as many requests as they may have, and too many wait already.";
    QueueTimeout queue_timeout Upstream 503 connection_limit_reached
        "The upstreams had as many requests as they may have for too long.";
    ResolveFailed resolve_failed Upstream 502 dns_error
        "The name of the upstream could not be resolved.";
    ConnectRefused connect_refused Upstream 502 connection_refused
        "The upstream refused the connection.";
    ConnectTimeout connect_timeout Upstream 504 connection_timeout
        "The upstream did not accept the connection in time.";
    ConnectFailed connect_failed Upstream 502 destination_unavailable
        "The upstream could not be connected to.";
    TlsCertificate tls_certificate Upstream 502 tls_certificate_error
        "The upstream's certificate is not good.";
    TlsAlert tls_alert Upstream 502 tls_alert_received
        "The upstream ended TLS with an alert.";
    TlsFailed tls_failed Upstream 502 tls_protocol_error
        "TLS with the upstream failed.";

    // The upstream's answer.
    UpstreamWriteTimeout upstream_write_timeout Upstream 504 connection_write_timeout
        "The upstream stopped reading the request.";
    UpstreamClosed upstream_closed Upstream 502 connection_terminated
        "The upstream closed the connection before it answered.";
    UpstreamReset upstream_reset Upstream 502 connection_terminated
        "The upstream reset the connection.";
    ResponseTimeout response_timeout Upstream 504 http_response_timeout
        "The upstream did not answer in time.";
    Hedged hedged Nobody - -
        "Another upstream answered sooner.";
    RetriedStatus retried_status Upstream 502 -
        "The upstream answered with a status after which a request is sent again.";
    MalformedResponse malformed_response Upstream 502 http_protocol_error
        "The head of the upstream's answer is not HTTP.";
    ResponseHeadTooLarge response_head_too_large Upstream 502 http_response_header_section_size
        "The head of the upstream's answer is larger than tidegate accepts.";
    BadResponseFraming bad_response_framing Upstream 502 http_protocol_error
        "The length of the upstream's answer is ambiguous.";
    BadResponseChunk bad_response_chunk Upstream 502 http_response_transfer_coding
        "The upstream's chunked body is malformed.";
    UnaskedUpgrade unasked_upgrade Upstream 502 http_upgrade_failed
        "The upstream switched to a protocol that it was not offered.";
    BadUpgradeProof bad_upgrade_proof Upstream 502 http_upgrade_failed
        "The upstream switched protocols without proof that it understood the handshake.";
    TooManyInterim too_many_interim Upstream 502 http_protocol_error
        "The upstream sent one interim answer after the other.";
    ResponseCutShort response_cut_short Upstream - http_response_incomplete
        "The upstream closed in the middle of its answer.";
    UpstreamBodyTimeout upstream_body_timeout Upstream - connection_read_timeout
        "The upstream stopped in the middle of its answer.";

    // After a 101: how a tunnel ended.
    TunnelClosed tunnel_closed Nobody - -
        "Both sides of the tunnel closed.";
    TunnelIdle tunnel_idle Nobody - -
        "Nothing went through the tunnel for too long.";
    TunnelClientReset tunnel_client_reset Client - -
        "The client reset the tunnel.";
    TunnelUpstreamReset tunnel_upstream_reset Upstream - connection_terminated
        "The upstream reset the tunnel.";
    TunnelCut tunnel_cut Proxy - connection_terminated
        "The tunnel outlived the time tidegate had to shut down.";

    // Ourselves.
    ForwardedHeadTooLarge forwarded_head_too_large Proxy 431 http_request_error
        "With the fields tidegate adds, the head does not fit its buffer.";
    NoDescriptors no_descriptors Proxy 503 proxy_internal_error
        "tidegate has no descriptor left for a connection to an upstream.";
    Stopped stopped Proxy 503 proxy_internal_response
        "tidegate was stopped before the request ended.";
    Panicked panicked Proxy 500 proxy_internal_error
        "tidegate made a mistake.";
}

impl Reason {
    /// Where the reason stands in [`Reason::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The same finding when the octets came from the upstream: there the status and the fault
    /// differ.
    pub const fn by_upstream(self) -> Reason {
        match self {
            Reason::HeadTooLarge | Reason::TooManyFields => Reason::ResponseHeadTooLarge,
            Reason::BadLength
            | Reason::ConflictingLength
            | Reason::LengthAndTransferEncoding
            | Reason::BadTransferEncoding
            | Reason::TransferEncodingInHttp10
            | Reason::UnsupportedTransferCoding => Reason::BadResponseFraming,
            Reason::BadChunk | Reason::BadTrailer => Reason::BadResponseChunk,
            other if matches!(other.fault(), Fault::Client) => Reason::MalformedResponse,
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_row_of_the_table_is_sound() {
        let mut labels = HashSet::new();
        for (index, reason) in Reason::ALL.iter().copied().enumerate() {
            assert_eq!(reason.index(), index);
            assert!(labels.insert(reason.label()), "{} twice", reason.label());
            assert!(
                reason
                    .label()
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            );
            assert!(reason.explain().is_ascii() && reason.explain().ends_with('.'));
            assert!(!reason.explain().contains(['"', '\\']), "would need escapes");
            assert_ne!(reason.by_upstream().fault(), Fault::Client);
            match (reason.fault(), reason.status()) {
                (Fault::Nobody, status) => assert_eq!(status, None),
                (Fault::Client, Some(status)) => assert!((400..=505).contains(&status)),
                (_, Some(status)) => assert!(status >= 500 || status == 431),
                (_, None) => {}
            }
        }
        assert!(Reason::ALL.len() < 256);
    }
}
