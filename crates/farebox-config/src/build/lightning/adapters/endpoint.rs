//! What all backends with an HTTP API have in common: where it is, whom to believe, how long to
//! wait.

use std::sync::Arc;
use std::time::Duration;

use farebox_core::{Clock, Msat};
use farebox_lightning::guard::AllowedHosts;
use farebox_lightning::{EndpointError, Network, Trust};
use http::Uri;
use rustls::pki_types::CertificateDer;

use super::{allowed_hosts, network};
use crate::build::Context;
use crate::build::server::not_zero;
use crate::file::LightningSection;
use crate::mistake::{KeyPath, Mistakes};

/// An HTTP API, and the conditions it is called under.
pub(super) struct Endpoint {
    pub(super) url: Uri,
    pub(super) trust: Trust,
    pub(super) allow_plain_http: bool,
    pub(super) common: Common,
}

/// The conditions that hold for every node.
pub(super) struct Common {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) network: Network,
    pub(super) min_amount: Option<Msat>,
    pub(super) call_timeout: Duration,
    pub(super) allowed: AllowedHosts,
}

impl Common {
    pub(super) fn read(
        section: &LightningSection,
        at: &KeyPath,
        context: &Context,
        mistakes: &mut Mistakes,
    ) -> Self {
        if section.min_amount.is_some_and(|amount| amount.0.is_zero()) {
            mistakes.note(
                at.key("min_amount"),
                Some("0".to_owned()),
                "at least 1 msat",
            );
        }
        Self {
            clock: Arc::clone(&context.clock),
            network: network(section.network),
            min_amount: section.min_amount.map(|amount| amount.0),
            call_timeout: not_zero(at.key("timeout"), section.timeout(), mistakes),
            allowed: allowed_hosts(&section.allow_hosts, at, mistakes),
        }
    }
}

impl Endpoint {
    /// The endpoint, or none where the URL is missing or is none.
    pub(super) fn read(
        section: &LightningSection,
        certificates: Option<Vec<CertificateDer<'static>>>,
        at: &KeyPath,
        context: &Context,
        mistakes: &mut Mistakes,
    ) -> Option<Self> {
        let common = Common::read(section, at, context, mistakes);
        // Its value is not shown: there may be a password in it.
        let url = section.url.as_ref()?.parse::<Uri>();
        let url = url
            .map_err(|error| mistakes.note(at.key("url"), None, format!("not a URL: {error}")))
            .ok()?;
        if url.scheme_str() == Some("http") && section.tls_cert.is_some() {
            let reason = "makes no sense with a url that begins with http://";
            mistakes.note(at.key("tls_cert"), None, reason);
        }
        let listed = |authority| common.allowed.scheme_for(authority).as_str() == "http";
        Some(Self {
            trust: certificates.map_or(Trust::Web, Trust::Pinned),
            allow_plain_http: url.authority().is_some_and(listed),
            url,
            common,
        })
    }
}

/// Notes what is wrong with the URL, the certificate or the credential at its own key.
pub(super) fn note_error(
    error: &EndpointError,
    credential: &str,
    at: &KeyPath,
    mistakes: &mut Mistakes,
) {
    let key = match error {
        EndpointError::NoCertificate => "tls_cert",
        EndpointError::Credential => credential,
        _ => "url",
    };
    let advice = match error {
        EndpointError::PlainHttp { .. } => ", or name host and port under allow_hosts",
        _ => "",
    };
    mistakes.note(at.key(key), None, format!("{error}{advice}"));
}
