//! In which form the metrics are wanted.

/// A form of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    /// Prometheus text 0.0.4.
    Prometheus,
    /// OpenMetrics text 1.0.0.
    OpenMetrics,
}

impl Format {
    /// `?format=` decides; else `Accept` by its weights (RFC 9110 section 12.5.1), the first of equals. Whoever takes
    /// anything, as plain curl does, gets JSON. `None`: there is no such format.
    pub fn choose(query: &str, accept: &str) -> Option<Format> {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        match pairs.find(|(key, _)| *key == "format").map(|(_, value)| value) {
            Some("json") => Some(Format::Json),
            Some("prometheus" | "text") => Some(Format::Prometheus),
            Some("openmetrics") => Some(Format::OpenMetrics),
            Some(_) => None,
            None => Some(Format::accepted(accept)),
        }
    }

    fn accepted(accept: &str) -> Format {
        let mut best = (Format::Json, 0);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let form = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "application/openmetrics-text" => Format::OpenMetrics,
                "text/plain" | "text/*" => Format::Prometheus,
                "application/json" | "application/*" | "*/*" => Format::Json,
                _ => continue,
            };
            let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
            let weight = weight.map_or(1000, thousandths);
            if weight > best.1 {
                best = (form, weight);
            }
        }
        best.0
    }
}

/// A weight in thousandths; what is not one counts as nothing.
fn thousandths(weight: &str) -> u32 {
    let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
    let digits = |text: &str| text.bytes().all(|octet| octet.is_ascii_digit());
    match whole {
        "1" => 1000,
        "0" if fraction.len() <= 3 && digits(fraction) => {
            let padded = fraction.bytes().chain(*b"000").take(3);
            padded.fold(0, |value, octet| value * 10 + u32::from(octet - b'0'))
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrapers_get_text_and_curl_gets_json() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,\
                          text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (query, accept, form) in [
            ("", "", Some(Format::Json)),
            ("", "*/*", Some(Format::Json)),
            ("", "application/json", Some(Format::Json)),
            ("", "text/html,*/*;q=0.8", Some(Format::Json)),
            ("", "text/plain", Some(Format::Prometheus)),
            (
                "",
                "text/plain;version=0.0.4;q=0.6, application/json;q=0.55",
                Some(Format::Prometheus),
            ),
            ("", "TEXT/PLAIN;q=0", Some(Format::Json)),
            ("", prometheus, Some(Format::OpenMetrics)),
            ("format=json", prometheus, Some(Format::Json)),
            ("a=b&format=prometheus", "*/*", Some(Format::Prometheus)),
            ("format=openmetrics", "", Some(Format::OpenMetrics)),
            ("format=xml", "*/*", None),
        ] {
            assert_eq!(Format::choose(query, accept), form, "{query} {accept}");
        }
    }

    #[test]
    fn weights_are_thousandths() {
        for (text, weight) in [
            ("1", 1000),
            ("1.000", 1000),
            ("0.5", 500),
            ("0.123", 123),
            ("0", 0),
            ("x", 0),
            ("0.+1", 0),
        ] {
            assert_eq!(thousandths(text), weight, "{text}");
        }
    }
}
