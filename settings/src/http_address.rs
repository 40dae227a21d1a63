//! Addresses of HTTP servers, checked by shape.
//!
//! Only what a setting needs: scheme, host, port, path. Whether anybody answers there is not
//! asked. Credentials inside an address are refused, since addresses are printed and logged.

/// Checks an address and drops trailing slashes, so that paths can be joined with `/`.
pub(crate) fn parse(text: &str) -> Result<String, &'static str> {
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"))
        .ok_or("does not start with http:// or https://")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(CREDENTIALS);
    }
    if rest.contains(['?', '#']) {
        return Err("has a query or fragment");
    }
    if !rest.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\')) {
        return Err("has characters that an address cannot hold");
    }
    let (host, port) = split_port(authority)?;
    let host_fits = host
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .map_or_else(|| is_name(host), |inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
    if !host_fits {
        return Err("has no valid host");
    }
    if let Some(port) = port
        && port.parse::<u16>().ok().is_none_or(|number| number == 0)
    {
        return Err("has no valid port");
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Told apart by the reader: such a value is not quoted.
pub(crate) const CREDENTIALS: &str = "holds a user or password; credentials have settings of their own";

fn split_port(authority: &str) -> Result<(&str, Option<&str>), &'static str> {
    if let Some(end) = authority.find(']') {
        let (host, rest) = authority.split_at(end + 1);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err("has no valid host"),
        };
    }
    Ok(authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))))
}

fn is_name(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= 253
        && host.split('.').all(|label| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-'))
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_judged_by_shape() {
        for (text, expected) in [
            ("http://127.0.0.1:8080", Ok("http://127.0.0.1:8080")),
            ("https://api.telegram.org/", Ok("https://api.telegram.org")),
            ("http://orchestrator:8080/base/", Ok("http://orchestrator:8080/base")),
            ("http://[::1]:9109", Ok("http://[::1]:9109")),
            ("http://my_host", Ok("http://my_host")),
            ("127.0.0.1:8080", Err("does not start with http:// or https://")),
            ("ftp://host", Err("does not start with http:// or https://")),
            ("http://", Err("has no valid host")),
            ("http://:80", Err("has no valid host")),
            ("http://ho st", Err("has characters that an address cannot hold")),
            ("http://-a.b", Err("has no valid host")),
            ("http://[::1", Err("has no valid host")),
            ("http://[zz]:1", Err("has no valid host")),
            ("http://host:0", Err("has no valid port")),
            ("http://host:65536", Err("has no valid port")),
            ("http://host:", Err("has no valid port")),
            ("http://host/?a=b", Err("has a query or fragment")),
            ("http://user:pass@host", Err(CREDENTIALS)),
        ] {
            assert_eq!(parse(text), expected.map(str::to_owned), "{text:?}");
        }
    }
}
