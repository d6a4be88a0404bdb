//! TLS to PostgreSQL: what each `sslmode` trusts, and channel binding.

use std::{io, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{CryptoProvider, hash::HashAlgorithm, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
    server::ParsedCertificate,
};

use super::connect::{ConnectConfig, SslMode};

/// What is checked about the server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// Nothing: the link is encrypted, the peer unknown.
    Anyone,
    /// That an authority signed it.
    Authority,
    /// That an authority signed it for this host.
    Host,
}

/// The TLS settings that `config` asks for. Reads the root file.
pub(super) fn client_config(config: &ConnectConfig) -> io::Result<Arc<ClientConfig>> {
    let trust = trust(config);
    // rustls would pick a process-wide provider; naming ours keeps it the same everywhere.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = if trust == Trust::Anyone { RootCertStore::empty() } else { roots(config)? };
    let verifier = Verifier { trust, roots, provider: Arc::clone(&provider) };
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(client))
}

fn trust(config: &ConnectConfig) -> Trust {
    match config.ssl_mode {
        SslMode::VerifyFull => Trust::Host,
        SslMode::VerifyCa => Trust::Authority,
        // libpq: a root file turns `require` into `verify-ca`.
        SslMode::Require if config.ssl_root_cert.is_some() => Trust::Authority,
        SslMode::Disable | SslMode::Allow | SslMode::Prefer | SslMode::Require => Trust::Anyone,
    }
}

fn roots(config: &ConnectConfig) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &config.ssl_root_cert {
        for certificate in CertificateDer::pem_file_iter(path).map_err(io::Error::other)? {
            roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
        }
    } else {
        // A few unreadable certificates in the system's store are normal.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if roots.is_empty() {
        return Err(io::Error::other("no certificate authority to verify the server with"));
    }
    Ok(roots)
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.trust != Trust::Anyone {
            let certificate = ParsedCertificate::try_from(end_entity)?;
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                &self.roots,
                intermediates,
                now,
                algorithms,
            )?;
            if self.trust == Trust::Host {
                verify_server_name(&certificate, server_name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// True when a handshake failed because of what the certificate says: trying
/// again cannot help.
pub(super) fn is_untrusted(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    matches!(
        inner,
        Some(Error::InvalidCertificate(reason))
            if !matches!(reason, CertificateError::Expired | CertificateError::NotValidYet)
    )
}

/// `tls-server-end-point` (RFC 5929): a hash of the server's certificate, with
/// the hash of the certificate's own signature but at least SHA-256. None when
/// that hash is not at hand; SCRAM then runs without channel binding.
pub(super) fn server_end_point(
    certificate: &CertificateDer<'_>,
    provider: &CryptoProvider,
) -> Option<Vec<u8>> {
    let wanted = signature_hash(certificate)?;
    let hash = provider.cipher_suites.iter().find_map(|suite| {
        let hash = suite.tls13()?.common.hash_provider;
        (hash.algorithm() == wanted).then_some(hash)
    })?;
    Some(hash.hash(certificate).as_ref().to_vec())
}

/// The object identifiers (DER contents) of the signature algorithms in use,
/// with the hash that RFC 5929 assigns to each. From RFC 8017 and RFC 5758.
const SIGNATURES: [(&[u8], HashAlgorithm); 6] = [
    (&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 4], HashAlgorithm::SHA256), // MD5, RSA
    (&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 5], HashAlgorithm::SHA256), // SHA-1, RSA
    (&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 11], HashAlgorithm::SHA256), // SHA-256, RSA
    (&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 12], HashAlgorithm::SHA384), // SHA-384, RSA
    (&[0x2A, 0x86, 0x48, 0xCE, 0x3D, 4, 3, 2], HashAlgorithm::SHA256),       // SHA-256, ECDSA
    (&[0x2A, 0x86, 0x48, 0xCE, 0x3D, 4, 3, 3], HashAlgorithm::SHA384),       // SHA-384, ECDSA
];

fn signature_hash(certificate: &[u8]) -> Option<HashAlgorithm> {
    const SEQUENCE: u8 = 0x30;
    const OBJECT_IDENTIFIER: u8 = 0x06;
    // Certificate ::= { tbsCertificate, signatureAlgorithm ::= { algorithm, … }, … }
    let (fields, _) = der(certificate, SEQUENCE)?;
    let (_, after) = der(fields, SEQUENCE)?;
    let (algorithm, _) = der(after, SEQUENCE)?;
    let (identifier, _) = der(algorithm, OBJECT_IDENTIFIER)?;
    SIGNATURES.iter().find(|(known, _)| *known == identifier).map(|(_, hash)| *hash)
}

/// The contents of the element that `bytes` starts with, and what follows it.
fn der(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let (&short, mut rest) = rest.split_first()?;
    let mut length = usize::from(short);
    if short >= 0x80 {
        let (digits, after) = rest.split_at_checked(usize::from(short & 0x7F))?;
        length = 0;
        for digit in digits {
            length = length.checked_mul(256)?.checked_add(usize::from(*digit))?;
        }
        rest = after;
    }
    let (contents, after) = rest.split_at_checked(length)?;
    (first == tag).then_some((contents, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(oid: &[u8]) -> Vec<u8> {
        let element = |tag: u8, contents: &[u8]| {
            let mut out = vec![tag, u8::try_from(contents.len()).unwrap()];
            out.extend_from_slice(contents);
            out
        };
        let algorithm = element(0x30, &element(0x06, oid));
        element(0x30, &[element(0x30, b"body"), algorithm].concat())
    }

    #[test]
    fn the_hash_follows_the_certificates_signature() {
        for (oid, hash) in SIGNATURES {
            assert_eq!(signature_hash(&certificate(oid)), Some(hash));
        }
        assert_eq!(signature_hash(&certificate(&[0x2B, 0x65, 0x70])), None, "Ed25519 has none");
        assert_eq!(signature_hash(&[0x30, 0x84, 0xFF, 0xFF, 0xFF, 0xFF]), None);
    }

    #[test]
    fn both_hashes_are_at_hand() {
        let provider = rustls::crypto::ring::default_provider();
        for (oid, length) in [(SIGNATURES[2].0, 32), (SIGNATURES[3].0, 48)] {
            let certificate = CertificateDer::from(certificate(oid));
            assert_eq!(server_end_point(&certificate, &provider).unwrap().len(), length);
        }
    }
}
