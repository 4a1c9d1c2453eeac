//! Syntax of names in a configuration. A valid name cannot inject a cluster, a header, or a metric label.

/// Returns whether `text` is a DNS label (RFC 1123), the syntax of namespace and Service names: at most 63 lower-case
/// letters, digits and hyphens.
pub fn is_label(text: &str) -> bool {
    text.len() <= 63 && has_label_characters(text)
}

fn has_label_characters(text: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
}

/// Returns whether `text` is a DNS subdomain (RFC 1123) as Kubernetes validates it: labels joined by dots, at most 253
/// characters. Kubernetes does not limit the length of a label.
pub fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(has_label_characters)
}

/// Returns whether `text` is a token (RFC 9110, section 5.6.2), the syntax of header and cookie names.
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Returns whether `text` is visible ASCII, which is valid both as an Envoy cluster name and as the value of the header
/// that carries the name.
pub(crate) fn is_visible(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Returns whether a DNS subdomain is an IPv4 address: no top-level domain is a number. An IPv6 address is not a
/// subdomain.
pub(crate) fn is_ip_address(text: &str) -> bool {
    text.rsplit('.').next().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Parses a TCP port: 1–65535 in at most 5 digits.
pub(crate) fn port(text: &str) -> Option<u16> {
    if text.is_empty() || text.len() > 5 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|&port| port != 0)
}

/// Returns whether `text` may follow `svc.ns.` in a Service's DNS name.
pub(crate) fn is_service_domain(text: &str, cluster_domain: &str) -> bool {
    match text.strip_prefix("svc") {
        Some("" | ".cluster") => true,
        Some(domain) => domain.strip_prefix('.') == Some(cluster_domain),
        None => false,
    }
}
