//! Whom we believe to be who they say they are: the built-in authorities, and those that a file adds.
//!
//! Responsible for every HTTP client that may speak TLS: [`Trust::client`] is where each of them begins, so that none
//! knows fewer authorities than the others. It takes no authority away and never switches a check off. The file is read
//! with the settings, once, before confinement; a changed one counts after a restart.
//!
//! Invariant: a [`Trust`] that exists holds only certificates that a client accepts as authorities.

use std::sync::Arc;

use reqwest::{Certificate, ClientBuilder};
use thiserror::Error;

/// Largest file of authorities (1 MiB): everything that a distribution trusts is a quarter of it.
pub const CA_FILE_MAX_BYTES: u64 = 1 << 20;

/// How the TLS library's refusals of a certificate begin.
const REFUSAL: &str = "invalid peer certificate";

/// Certificate authorities.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// Beside the built-in ones.
    extra: Arc<[Certificate]>,
}

/// Why a file adds no authorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TrustError {
    /// No certificate is in it; a key or a binary (DER) certificate has none either.
    #[error("holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)")]
    Empty,
    /// A begin without an end, or something that is not base64 between them.
    #[error("has a certificate that is cut or damaged")]
    Damaged,
    /// What is between begin and end is none.
    #[error("its certificate number {0} cannot be used")]
    Unusable(usize),
}

impl Trust {
    /// The built-in authorities and those of a bundle in PEM form.
    ///
    /// # Errors
    /// What is wrong with the bundle; one bad certificate is enough.
    pub fn with_bundle(pem: &[u8]) -> Result<Self, TrustError> {
        let extra = Certificate::from_pem_bundle(pem).map_err(|_| TrustError::Damaged)?;
        if extra.is_empty() {
            return Err(TrustError::Empty);
        }
        for (at, certificate) in extra.iter().enumerate() {
            // a client looks at them when it is built, and does not say at which it stumbled
            let alone = reqwest::Client::builder()
                .tls_built_in_root_certs(false)
                .add_root_certificate(certificate.clone());
            alone.build().map_err(|_| TrustError::Unusable(at + 1))?;
        }
        Ok(Self { extra: extra.into() })
    }

    /// How many there are beside the built-in ones.
    #[must_use]
    pub fn extra(&self) -> usize {
        self.extra.len()
    }

    /// A client that believes these, to be furnished by whoever needs it.
    pub fn client(&self) -> ClientBuilder {
        self.extra.iter().cloned().fold(reqwest::Client::builder(), ClientBuilder::add_root_certificate)
    }
}

/// Whether a request failed because the other side's certificate was not believed.
#[must_use]
pub fn disbelieved(error: &reqwest::Error) -> bool {
    let first = std::error::Error::source(error);
    std::iter::successors(first, |error| error.source()).any(|error| error.to_string().starts_with(REFUSAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_without_a_whole_certificate_says_what_is_wrong_with_it() {
        let block =
            |kind: &str, text: &str| format!("-----BEGIN {kind}-----\n{text}\n-----END {kind}-----\n");
        let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n".to_owned();
        for (text, wrong) in [
            (String::new(), TrustError::Empty),
            ("\u{1}\u{2} not PEM".to_owned(), TrustError::Empty),
            (block("PRIVATE KEY", "AAAA"), TrustError::Empty),
            (cut, TrustError::Damaged),
            (block("CERTIFICATE", "!!!!"), TrustError::Damaged),
            (block("CERTIFICATE", "AAAA"), TrustError::Unusable(1)),
        ] {
            assert_eq!(Trust::with_bundle(text.as_bytes()).unwrap_err(), wrong, "{text:?}");
        }
        assert_eq!(Trust::default().extra(), 0);
    }
}
