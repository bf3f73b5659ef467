//! The nodes and wallets that differ in their credential only.

use std::sync::Arc;

use farebox_core::Secret;
use farebox_lightning::Needs as NodeNeeds;
use farebox_lightning::cln::Cln;
use farebox_lightning::lnbits::Lnbits;
use farebox_lightning::nwc::{Nwc, NwcOptions};
use farebox_lightning::phoenixd::Phoenixd;
use farebox_lightning::{Backend, EndpointError, NodeOptions};

use super::super::NodeKind;
use super::super::credentials::Credentials;
use super::endpoint::{Common, Endpoint, note_error};
use super::{Adapter, Needs};
use crate::build::Context;
use crate::file::LightningSection;
use crate::mistake::{KeyPath, Mistakes};

/// Core Lightning.
pub(super) fn cln(
    section: &LightningSection,
    credentials: Credentials,
    needs: Needs,
    at: &KeyPath,
    context: &Context,
    mistakes: &mut Mistakes,
) -> Option<Adapter> {
    let endpoint = Endpoint::read(section, credentials.certificates, at, context, mistakes)?;
    section.rune.as_ref()?;
    let options = options(endpoint, credentials.text, needs.refunds.unwrap_or(true));
    finish(Cln::new(options), "rune", at, mistakes)
}

/// phoenixd.
pub(super) fn phoenixd(
    section: &LightningSection,
    credentials: Credentials,
    needs: Needs,
    at: &KeyPath,
    context: &Context,
    mistakes: &mut Mistakes,
) -> Option<Adapter> {
    let endpoint = Endpoint::read(section, credentials.certificates, at, context, mistakes)?;
    section.password.as_ref()?;
    let options = options(endpoint, credentials.text, needs.refunds.unwrap_or(true));
    let node = Phoenixd::new(options, credentials.webhook_secret);
    finish(node, "password", at, mistakes)
}

/// A wallet at LNbits. It pays where an admin key is given.
pub(super) fn lnbits(
    section: &LightningSection,
    credentials: Credentials,
    needs: Needs,
    at: &KeyPath,
    context: &Context,
    mistakes: &mut Mistakes,
) -> Option<Adapter> {
    let endpoint = Endpoint::read(section, credentials.certificates, at, context, mistakes)?;
    section.key.as_ref()?;
    let admin_key = credentials.admin_key;
    let pay = needs.refunds.unwrap_or(admin_key.is_some());
    let node = Lnbits::new(options(endpoint, credentials.text, pay), admin_key.as_ref());
    finish(node, "key", at, mistakes)
}

/// What a rune or password allows is not to be seen in it; refunds are on where a backend can pay,
/// unless the operator says otherwise.
fn options(endpoint: Endpoint, credential: Secret<String>, pay: bool) -> NodeOptions {
    let common = endpoint.common;
    NodeOptions {
        network: common.network,
        trust: endpoint.trust,
        allow_plain_http: endpoint.allow_plain_http,
        min_amount: common.min_amount,
        call_timeout: common.call_timeout,
        needs: NodeNeeds { pay, hold: false },
        ..NodeOptions::new(endpoint.url, credential, common.clock)
    }
}

/// A wallet that speaks Nostr Wallet Connect.
pub(super) fn nwc(
    section: &LightningSection,
    credentials: Credentials,
    at: &KeyPath,
    context: &Context,
    mistakes: &mut Mistakes,
) -> Option<Adapter> {
    let common = Common::read(section, at, context, mistakes);
    section.uri.as_ref()?;
    let defaults = NwcOptions::new(credentials.text, common.clock);
    let node = Nwc::new(NwcOptions {
        network: common.network,
        min_amount: common.min_amount,
        whole_sats: section.whole_sats.unwrap_or(defaults.whole_sats),
        call_timeout: common.call_timeout,
        ..defaults
    });
    let node = mistakes.take(at.key("uri"), "", node)?;
    Some((NodeKind::Node, Arc::new(node).into()))
}

pub(super) fn finish<T>(
    node: Result<T, EndpointError>,
    credential: &str,
    at: &KeyPath,
    mistakes: &mut Mistakes,
) -> Option<Adapter>
where
    Backend: From<Arc<T>>,
{
    match node {
        Ok(node) => Some((NodeKind::Node, Arc::new(node).into())),
        Err(error) => {
            note_error(&error, credential, at, mistakes);
            None
        }
    }
}
