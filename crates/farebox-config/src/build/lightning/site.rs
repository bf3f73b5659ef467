//! What an adapter is built with: settings of one backend, the secrets and certificates that they
//! name, and a place for what is wrong with them. Nobody is called here.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use farebox_core::{Clock, Msat, Secret};
use farebox_http::client::{AllowedHosts, EndpointError, Trust};
use farebox_lightning::{Network, NodeOptions};
use http::Uri;
use sha2::{Digest, Sha256};

use super::{Needs, allowed_hosts};
use crate::build::at::At;
use crate::build::server::read_certificates;
use crate::build::{Context, Lookups};
use crate::choice::{Amount, SecretSource};
use crate::file::{ApiSection, BackendSection};
use crate::secrets::{self, SecretError};

/// How a secret is written, for those who left it out.
const WRITE_SECRET: &str = "{ file = \"…\" } or { env = \"…\" }";

/// Stands for a secret where look-ups are skipped.
pub(super) const NOBODY: &str = "nobody";

/// One backend that is being built.
pub(super) struct Site<'a> {
    pub(super) section: &'a BackendSection,
    pub(super) needs: Needs,
    pub(super) context: &'a Context,
    pub(super) at: &'a At<'a>,
    /// Everything that was looked up, so that another credential in the same place is seen.
    read: Sha256,
}

/// Tells two sets of credentials apart without keeping either.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; 32]);

impl<'a> Site<'a> {
    pub(super) fn new(
        section: &'a BackendSection,
        needs: Needs,
        context: &'a Context,
        at: &'a At<'a>,
    ) -> Self {
        Self {
            section,
            needs,
            context,
            at,
            read: Sha256::new(),
        }
    }

    pub(super) fn fingerprint(self) -> Fingerprint {
        Fingerprint(self.read.finalize().into())
    }

    pub(super) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.context.clock)
    }

    pub(super) const fn network(&self) -> Network {
        self.needs.network
    }

    /// What the backend cannot do without.
    pub(super) fn needed<'s, T>(
        &self,
        key: &str,
        written: Option<&'s T>,
        how: &str,
    ) -> Option<&'s T> {
        if written.is_none() {
            self.at.key(key).note(format!("is missing: write {how}"));
        }
        written
    }

    /// A credential as text.
    pub(super) fn credential(
        &mut self,
        key: &str,
        written: Option<&SecretSource>,
    ) -> Option<Secret<String>> {
        let source = self.needed(key, written, WRITE_SECRET)?;
        self.secret(key, source, NOBODY)
    }

    /// A secret as text; where look-ups are skipped, what stands for it.
    pub(super) fn secret(
        &mut self,
        key: &str,
        source: &SecretSource,
        skipped: &str,
    ) -> Option<Secret<String>> {
        let skipped = || Secret::new(skipped.to_owned());
        let secret = self.look_up(key, skipped, || secrets::fetch(source))?;
        self.add(secret.reveal().as_bytes());
        Some(secret)
    }

    /// The bytes of a macaroon; where look-ups are skipped, what stands for them.
    pub(super) fn macaroon(
        &mut self,
        written: Option<&SecretSource>,
        skipped: &[u8],
    ) -> Option<Secret<Vec<u8>>> {
        let how = "{ file = \"…/invoice.macaroon\" } or { env = \"…\" }";
        let source = self.needed("macaroon", written, how)?;
        let skipped = || Secret::new(skipped.to_vec());
        let macaroon = self.look_up("macaroon", skipped, || secrets::fetch_macaroon(source))?;
        self.add(macaroon.reveal());
        Some(macaroon)
    }

    pub(super) const fn skips_lookups(&self) -> bool {
        matches!(self.context.lookups, Lookups::Skipped)
    }

    fn look_up<T>(
        &mut self,
        key: &str,
        skipped: impl FnOnce() -> T,
        fetch: impl FnOnce() -> Result<T, SecretError>,
    ) -> Option<T> {
        if self.skips_lookups() {
            return Some(skipped());
        }
        self.at.key(key).take(fetch())
    }

    fn add(&mut self, part: &[u8]) {
        self.read.update(part.len().to_be_bytes());
        self.read.update(part);
    }

    pub(super) fn call_timeout(&self) -> Duration {
        self.at.key("timeout").not_zero(self.section.timeout())
    }

    pub(super) fn min_amount(&self, written: Option<Amount>) -> Option<Msat> {
        if written.is_some_and(|amount| amount.0.is_zero()) {
            self.at.key("min_amount").note("at least 1 msat");
        }
        written.map(|amount| amount.0)
    }

    pub(super) fn allowed_hosts(&self, written: &[String]) -> AllowedHosts {
        allowed_hosts(written, self.at)
    }

    fn url(&mut self, api: &ApiSection) -> Option<Uri> {
        let how = "where it answers, such as \"https://127.0.0.1:8080\"";
        let url = self.needed("url", api.url.as_ref(), how)?.parse::<Uri>();
        let url = url.map_err(|error| format!("not a URL: {error}"));
        let url = self.at.key("url").take(url)?;
        if url.scheme_str() == Some("http") && api.tls_cert.is_some() {
            self.at
                .key("tls_cert")
                .note("makes no sense with a url that begins with http://");
        }
        Some(url)
    }

    fn pinned(&mut self, path: &Path) -> Option<Trust> {
        let read = read_certificates(path);
        let certificates = self.at.key("tls_cert").take(read)?;
        certificates
            .iter()
            .for_each(|certificate| self.add(certificate));
        Some(Trust::Pinned(certificates))
    }

    /// The options of a node that is opened with one text. What a rune or password allows is not to
    /// be seen in it; refunds are on where a backend can pay, unless the operator says otherwise.
    pub(super) fn node_options<C>(
        &mut self,
        api: &ApiSection,
        credential: Option<C>,
        can_pay: bool,
    ) -> Option<NodeOptions<C>> {
        let allowed = self.allowed_hosts(&api.allow_hosts);
        let min_amount = self.min_amount(api.min_amount);
        let trust = match &api.tls_cert {
            Some(path) if !self.skips_lookups() => self.pinned(path),
            _ => Some(Trust::Web),
        };
        let url = self.url(api);
        let call_timeout = self.call_timeout();
        let url = url?;
        let listed = |authority| allowed.scheme_for(authority).as_str() == "http";
        let allow_plain_http = url.authority().is_some_and(listed);
        let mut options = NodeOptions::new(url, credential?, self.clock());
        options.network = self.network();
        options.trust = trust?;
        options.allow_plain_http = allow_plain_http;
        options.min_amount = min_amount;
        options.call_timeout = call_timeout;
        options.needs.pay = self.needs.refunds.unwrap_or(can_pay);
        Some(options)
    }

    /// The node, or what is wrong with its URL, its certificate or its credential at its own key.
    pub(super) fn made<T>(&self, node: Result<T, EndpointError>, credential: &str) -> Option<T> {
        let key = match &node {
            Err(EndpointError::NoCertificate) => "tls_cert",
            Err(EndpointError::Credential) => credential,
            _ => "url",
        };
        self.at.key(key).take(node.map_err(|error| match error {
            EndpointError::PlainHttp { .. } => {
                format!("{error}, or name host and port under allow_hosts")
            }
            error => error.to_string(),
        }))
    }
}
