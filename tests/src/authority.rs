//! A certificate authority of one test: made by openssl, believed by nobody else, gone with the test.

use crate::tools::OPENSSL;
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What openssl is told; the server's names stand in place of `NAMES`.
const SETTINGS: &str = "
[req]
prompt = no
distinguished_name = name
x509_extensions = authority
[name]
CN = made for one test
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = NAMES
";

/// A key without a password.
const NEW_KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
/// For as long as any test may take.
const DAYS: [&str; 2] = ["-days", "2"];

/// An authority with its files.
#[derive(Debug)]
pub struct Authority {
    home: TempDir,
}

impl Authority {
    /// Makes one.
    ///
    /// # Errors
    /// When openssl is missing (names the cure) or fails.
    pub fn new() -> Result<Self> {
        let authority = Self { home: tempfile::tempdir()? };
        fs::write(authority.at("settings"), SETTINGS.replace("NAMES", "DNS:nobody.test"))?;
        let at = |name: &str| text(&authority.at(name));
        let (settings, key, certificate) = (at("settings")?, at("key")?, at("certificate.pem")?);
        let files = ["-config", &settings, "-keyout", &key, "-out", &certificate];
        openssl(&[&["req", "-x509"][..], &NEW_KEY, &DAYS, &files].concat())?;
        Ok(authority)
    }

    /// Its own certificate, which whoever shall believe it is given; PEM.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.at("certificate.pem")
    }

    /// Its key, which nobody may be given in its place; PEM.
    #[must_use]
    pub fn key_file(&self) -> PathBuf {
        self.at("key")
    }

    /// What a server of these names needs to speak TLS, as openssl writes them: `DNS:localhost`, `IP:127.0.0.1`.
    ///
    /// # Errors
    /// When openssl fails, or the result cannot be used.
    pub fn server(&self, names: &str) -> Result<ServerConfig> {
        let place = tempfile::tempdir_in(self.home.path())?;
        let at = |name: &str| text(&place.path().join(name));
        let (settings, key, wish, certificate) =
            (at("settings")?, at("key")?, at("wish")?, at("certificate")?);
        fs::write(&settings, SETTINGS.replace("NAMES", names))?;
        let files = ["-config", &settings, "-keyout", &key, "-out", &wish];
        openssl(&[&["req"][..], &NEW_KEY, &files].concat())?;
        let (own, own_key) = (text(&self.file())?, text(&self.key_file())?);
        let signed = ["-CA", &own, "-CAkey", &own_key, "-set_serial", "2", "-in", &wish];
        let form = ["-extfile", &settings, "-extensions", "server", "-out", &certificate];
        openssl(&[&["x509", "-req"][..], &signed, &DAYS, &form].concat())?;
        let builder = ServerConfig::builder_with_provider(ring::default_provider().into());
        let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
        let chain = vec![CertificateDer::from_pem_file(&certificate)?];
        Ok(builder.with_single_cert(chain, PrivateKeyDer::from_pem_file(&key)?)?)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }
}

fn text(path: &Path) -> Result<String> {
    Ok(path.to_str().context("a temporary folder whose name is no text")?.to_owned())
}

fn openssl(words: &[&str]) -> Result<()> {
    let said = OPENSSL.run(words)?;
    ensure!(said.status.success(), "openssl {}: {}", words.join(" "), said.all());
    Ok(())
}
