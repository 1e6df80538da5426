//! TLS: whom to trust, who to be, and a handshake with an end.
//!
//! What always holds: a receiver's certificate is verified, its name included; there is no way to leave that out. Files are
//! read anew for each connection, so that a renewed certificate is used. No error has anything of a key in it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

use super::wire::Wire;
use super::{in_words, left_until};
use crate::destination::{Tls, TlsVersion};

/// How long a receiver that has let us in may still throw us out before we believe it; and twice as long as the handshake.
const PROBATION: Duration = Duration::from_millis(500);

/// What is needed for TLS to one receiver.
#[derive(Debug, Clone)]
pub(crate) struct Security {
    tls: Tls,
    server_name: ServerName<'static>,
}

impl Security {
    /// For a receiver at `host`. The error is a cause; the files are looked at, too.
    pub(crate) fn new(tls: &Tls, host: &str) -> Result<Security, String> {
        let name = match tls.server_name.as_str() {
            "" => host,
            name => name,
        };
        let server_name = ServerName::try_from(name.to_owned()).map_err(|_| {
            format!("`{name}` cannot be the name in a certificate; set the server's name")
        })?;
        let security = Security {
            tls: tls.clone(),
            server_name,
        };
        security.config()?;
        Ok(security)
    }

    /// Makes `wire` secure. The error is a cause.
    pub(crate) fn shake_hands(&self, wire: &mut Wire, deadline: Instant) -> Result<(), String> {
        let config = Arc::new(self.config()?);
        let connection = ClientConnection::new(config, self.server_name.clone())
            .map_err(|error| format!("TLS cannot begin: {error}"))?;
        let begun = Instant::now();
        wire.encrypt(connection);
        loop {
            let is_sent = wire.flush().map_err(cause)?;
            if is_sent && !wire.is_handshaking() {
                return Ok(());
            }
            let left = left_until(deadline);
            let left = left.ok_or_else(|| {
                let waited = in_words(begun.elapsed());
                format!("the TLS handshake did not end within {waited}")
            })?;
            wire.wait(left).map_err(cause)?;
            wire.receive(None).map_err(cause)?;
        }
    }

    /// Waits whether a receiver that answers nothing keeps the connection open. In TLS 1.3 our handshake ends before it has seen
    /// our certificate, and some look at the name in it only afterwards (rsyslog), so that what is sent at once might be
    /// acknowledged by its kernel and never read.
    pub(crate) fn stand_probation(
        wire: &mut Wire,
        handshake: Duration,
        deadline: Instant,
    ) -> Result<(), String> {
        let end = (Instant::now() + PROBATION + handshake * 2).min(deadline);
        while let Some(left) = left_until(end) {
            wire.wait(left)
                .and_then(|()| wire.receive(None))
                .and_then(|()| wire.flush())
                .map_err(thrown_out)?;
        }
        Ok(())
    }

    fn config(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions(self.tls.oldest))
            .map_err(|error| format!("TLS cannot be set up: {error}"))?
            .with_root_certificates(self.roots()?);
        match (&self.tls.certificate, &self.tls.key) {
            (None, None) => Ok(builder.with_no_client_auth()),
            (Some(certificate), Some(key)) => {
                let chain = certificates(certificate)?;
                let private = PrivateKeyDer::from_pem_file(key).map_err(|error| {
                    format!(
                        "failed to read the key `{}`: {}",
                        key.display(),
                        why(&error)
                    )
                })?;
                let config = builder.with_client_auth_cert(chain, private);
                config.map_err(|error| {
                    let (certificate, key) = (certificate.display(), key.display());
                    format!("failed to use the certificate `{certificate}` with the key `{key}`: {error}")
                })
            }
            (Some(_), None) => {
                Err("a certificate without its key; name the key's file, too".into())
            }
            (None, Some(_)) => {
                Err("a key without its certificate; name the certificate's file, too".into())
            }
        }
    }

    fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        let Some(ca) = &self.tls.ca else {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                let why = found
                    .errors
                    .first()
                    .map_or(String::new(), |error| format!(" ({error})"));
                return Err(format!(
                    "the system trusts no authority{why}; name a file with the one to trust"
                ));
            }
            return Ok(roots);
        };
        for certificate in certificates(ca)? {
            roots.add(certificate).map_err(|error| {
                format!(
                    "failed to use the authority's certificate in `{}`: {error}",
                    ca.display()
                )
            })?;
        }
        Ok(roots)
    }
}

fn versions(oldest: TlsVersion) -> Vec<&'static SupportedProtocolVersion> {
    match oldest {
        TlsVersion::V1_2 => rustls::ALL_VERSIONS.to_vec(),
        TlsVersion::V1_3 => vec![&rustls::version::TLS13],
    }
}

/// All certificates of a PEM file; at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed =
        |why: String| format!("failed to read the certificate `{}`: {why}", path.display());
    let all = CertificateDer::pem_file_iter(path).map_err(|error| failed(why(&error)))?;
    let all: Result<Vec<_>, _> = all.collect();
    match all {
        Ok(all) if all.is_empty() => Err(failed("it has none in PEM format".into())),
        Ok(all) => Ok(all),
        Err(error) => Err(failed(why(&error))),
    }
}

/// Why a PEM file cannot be used, without a byte of it.
fn why(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => "it has none in PEM format".into(),
        _ => "it is no sound PEM file".into(),
    }
}

/// The cause when a connection ends right behind its handshake, by what the connection says of it.
pub(crate) fn thrown_out(error: impl std::fmt::Display) -> String {
    format!("{error}, right behind the TLS handshake; the receiver may not take our certificate")
}

fn cause(error: std::io::Error) -> String {
    error.to_string()
}
