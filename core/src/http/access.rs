//! Who may call what, and by which name.
//!
//! Pure over headers: tokens are compared as digests in constant time; the names by which a
//! loopback listener may be called are closed, so that a page whose name was rebound to 127.0.0.1
//! reads nothing (DNS rebinding).

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, Method, Uri, Version, header};
use orch_settings::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::problem::{Problem, ProblemKind};

const CHALLENGE: &str = "Bearer realm=\"orch-core\"";
const CHALLENGE_INVALID: &str = "Bearer realm=\"orch-core\", error=\"invalid_token\"";
const CHALLENGE_SCOPE: &str = "Bearer realm=\"orch-core\", error=\"insufficient_scope\"";

/// The rule of who may call.
#[derive(Debug, Clone)]
pub struct Access {
    loopback: bool,
    operator: TokenDigest,
    read: Option<TokenDigest>,
}

/// SHA-256 of a token: of one length whatever the token's, so a comparison tells nothing.
#[derive(Clone)]
struct TokenDigest([u8; 32]);

impl std::fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenDigest(…)")
    }
}

impl TokenDigest {
    fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    fn equals(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl Access {
    /// Changing needs `operator`. Reading needs `read` or `operator` when `bind` is not a loopback
    /// address, else nothing.
    #[must_use]
    pub fn new(bind: SocketAddr, operator: &SecretString, read: Option<&SecretString>) -> Self {
        let digest = |token: &SecretString| TokenDigest::of(token.expose_secret().as_bytes());
        Self { loopback: bind.ip().is_loopback(), operator: digest(operator), read: read.map(digest) }
    }

    /// Whether a request may go on.
    pub(super) fn judge(&self, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
        let changes = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        if !changes && self.loopback {
            return Ok(());
        }
        let Some(given) = bearer(headers) else {
            let detail =
                if changes { "changing needs the operator's token" } else { "reading needs a token" };
            return Err(Problem::new(ProblemKind::Unauthorized, detail).challenge(CHALLENGE));
        };
        let given = TokenDigest::of(given);
        let is_operator = self.operator.equals(&given);
        let is_reader = self.read.as_ref().map_or(Choice::from(0), |read| read.equals(&given));
        if bool::from(is_operator) || (!changes && bool::from(is_reader)) {
            Ok(())
        } else if bool::from(is_reader) {
            Err(Problem::new(ProblemKind::Forbidden, "this is the token for reading")
                .challenge(CHALLENGE_SCOPE))
        } else {
            Err(Problem::new(ProblemKind::Unauthorized, "the token is not known")
                .challenge(CHALLENGE_INVALID))
        }
    }

    /// Whether a request calls us by a name that is ours. Only a loopback listener can tell.
    pub(super) fn judge_name(&self, version: Version, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        if !self.loopback {
            return Ok(());
        }
        let mut named = headers.get_all(header::HOST).iter();
        let (host, second) = (named.next(), named.next());
        if second.is_some() || (host.is_none() && version > Version::HTTP_10) {
            return Err(Problem::new(ProblemKind::BadRequest, "exactly one header `Host` is needed"));
        }
        let by_header = host.map(|host| host.to_str().unwrap_or_default());
        let by_target = uri.authority().map(axum::http::uri::Authority::as_str);
        match by_header.into_iter().chain(by_target).find(|name| !is_loopback_name(name)) {
            None => Ok(()),
            Some(name) => {
                let shown: String = name.chars().take(100).collect();
                Err(Problem::new(ProblemKind::Misdirected, format!("called as {shown:?}")))
            }
        }
    }
}

/// A browser says from where a page sends; a program says nothing. Actions are no page's business.
pub(super) fn refuse_other_sites(headers: &HeaderMap) -> Result<(), Problem> {
    let site = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    let origin = headers.get(header::ORIGIN).and_then(|value| value.to_str().ok());
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    let own = |origin: &str| origin.split_once("://").is_some_and(|(_, rest)| Some(rest) == host);
    if site.is_some_and(|site| !matches!(site, "same-origin" | "none"))
        || origin.is_some_and(|origin| !own(origin))
    {
        return Err(Problem::new(ProblemKind::CrossSite, "the page that sends this is not ours"));
    }
    Ok(())
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii()).filter(|token| !token.is_empty())
}

/// `localhost`, a name below it, or an address of the loopback, with or without a port.
fn is_loopback_name(authority: &str) -> bool {
    let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inner, _)) => inner,
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_ours() {
        for (name, expected) in [
            ("127.0.0.1", true),
            ("127.0.0.1:8080", true),
            ("127.8.9.1:1", true),
            ("localhost:8080", true),
            ("LOCALHOST", true),
            ("orch.localhost:8080", true),
            ("localhost.", true),
            ("[::1]:8080", true),
            ("[::1]", true),
            ("", false),
            ("evil.example", false),
            ("localhost.evil.example:8080", false),
            ("127.0.0.1.evil.example", false),
            ("127.0.0.1@evil.example", false),
            ("0.0.0.0:8080", false),
            ("192.168.1.2:8080", false),
            ("[::ffff:127.0.0.1]:1", false),
            ("evil.example:127.0.0.1", false),
        ] {
            assert_eq!(is_loopback_name(name), expected, "{name}");
        }
    }
}
