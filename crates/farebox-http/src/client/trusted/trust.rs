//! Whose certificate is accepted: the Web's authorities', or exactly the ones the operator named.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme, WantsVerifier,
};

/// Whose certificates are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Those of the Web's certificate authorities, for the host's name.
    Web,
    /// Exactly these, whatever name and dates they carry: nodes make their own.
    Pinned(Vec<CertificateDer<'static>>),
}

/// A URL or certificate that no client can be built from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not an absolute URL with a host.
    #[error("the URL names no host")]
    NoHost,
    /// A user name or password in the URL, where logs would show it.
    #[error("the URL holds a user name; give the credential under its own key")]
    UserInUrl,
    /// A query, which has no meaning for the base of an API.
    #[error("the URL has a query")]
    Query,
    /// Another scheme.
    #[error("the URL's scheme is not one that this backend is called by")]
    Scheme,
    /// Plain HTTP to another machine would show the credential to everyone on the way.
    #[error("plain http to {host} would show the credential on the way; use https")]
    PlainHttp {
        /// The host.
        host: String,
    },
    /// The file holds no certificate in PEM form.
    #[error("there is no certificate in the PEM text")]
    NoCertificate,
    /// The credential cannot be written into a header.
    #[error("the credential has characters that cannot be sent")]
    Credential,
}

impl Trust {
    /// Pins every certificate of a PEM text, such as LND's `tls.cert`.
    ///
    /// # Errors
    /// [`EndpointError::NoCertificate`].
    pub fn pinned_pem(pem: &[u8]) -> Result<Self, EndpointError> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        match certificates {
            Ok(certificates) if !certificates.is_empty() => Ok(Self::Pinned(certificates)),
            _ => Err(EndpointError::NoCertificate),
        }
    }

    /// The TLS side of a client that trusts these.
    ///
    /// # Errors
    /// [`EndpointError::NoCertificate`] where there is no certificate to pin.
    pub fn client_config(&self) -> Result<ClientConfig, EndpointError> {
        match self {
            Self::Web => {
                let roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
                Ok(web_config(roots))
            }
            Self::Pinned(pins) if pins.is_empty() => Err(EndpointError::NoCertificate),
            Self::Pinned(pins) => {
                let provider = Arc::new(rustls::crypto::ring::default_provider());
                let verifier = Arc::new(Pins {
                    pins: pins.clone(),
                    provider: Arc::clone(&provider),
                });
                let config = builder(provider).dangerous();
                let config = config.with_custom_certificate_verifier(verifier);
                Ok(config.with_no_client_auth())
            }
        }
    }
}

/// The TLS side of a client that trusts certificates issued under `roots`, for the host's name.
pub(in crate::client) fn web_config(roots: RootCertStore) -> ClientConfig {
    builder(Arc::new(rustls::crypto::ring::default_provider()))
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn builder(provider: Arc<CryptoProvider>) -> ConfigBuilder<ClientConfig, WantsVerifier> {
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring serves the default protocol versions")
}

/// The certificate must be one of the pins, byte for byte, and the server must hold its key.
#[derive(Debug)]
struct Pins {
    pins: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

/// The node was set up anew, or somebody else answers in its place.
#[derive(Debug, thiserror::Error)]
#[error("the certificate it shows is not the pinned one")]
struct NotPinned;

impl ServerCertVerifier for Pins {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.pins.iter().any(|pin| pin == end_entity) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::Other(OtherError(Arc::new(NotPinned))))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
