//! The nodes and wallets that differ in their credential only.

use std::sync::Arc;

use farebox_lightning::cln::{Cln, ClnOptions};
use farebox_lightning::lnbits::{Lnbits, LnbitsOptions};
use farebox_lightning::lnd::Needs as LndNeeds;
use farebox_lightning::nwc::{Nwc, NwcOptions};
use farebox_lightning::phoenixd::{Phoenixd, PhoenixdOptions};
use farebox_lightning::{CreateInvoice, EndpointError};

use super::super::NodeKind;
use super::super::credentials::Credentials;
use super::endpoint::{Common, Endpoint, note_error};
use super::{Adapter, Needs};
use crate::config::build::Context;
use crate::config::file::LightningSection;
use crate::config::mistake::{KeyPath, Mistakes};

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
    let common = endpoint.common;
    let node = Cln::new(ClnOptions {
        network: common.network,
        trust: endpoint.trust,
        allow_plain_http: endpoint.allow_plain_http,
        min_amount: common.min_amount,
        call_timeout: common.call_timeout,
        needs: paying_unless_refused(needs),
        ..ClnOptions::new(endpoint.url, credentials.text, common.clock)
    });
    finish(node, "rune", at, mistakes)
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
    let common = endpoint.common;
    let node = Phoenixd::new(PhoenixdOptions {
        network: common.network,
        trust: endpoint.trust,
        allow_plain_http: endpoint.allow_plain_http,
        min_amount: common.min_amount,
        call_timeout: common.call_timeout,
        needs: paying_unless_refused(needs),
        webhook_secret: credentials.webhook_secret,
        ..PhoenixdOptions::new(endpoint.url, credentials.text, common.clock)
    });
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
    let common = endpoint.common;
    let pay = needs.refunds.unwrap_or(credentials.admin_key.is_some());
    let node = Lnbits::new(LnbitsOptions {
        admin_key: credentials.admin_key,
        network: common.network,
        trust: endpoint.trust,
        allow_plain_http: endpoint.allow_plain_http,
        min_amount: common.min_amount,
        call_timeout: common.call_timeout,
        needs: LndNeeds { pay, hold: false },
        ..LnbitsOptions::new(endpoint.url, credentials.text, common.clock)
    });
    finish(node, "key", at, mistakes)
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
    Some((NodeKind::Node, Arc::new(node) as Arc<dyn CreateInvoice>))
}

/// What a rune or password allows is not to be seen in it; refunds are on where a backend can pay,
/// unless the operator says otherwise.
fn paying_unless_refused(needs: Needs) -> LndNeeds {
    LndNeeds {
        pay: needs.refunds.unwrap_or(true),
        hold: false,
    }
}

fn finish<T: CreateInvoice + 'static>(
    node: Result<T, EndpointError>,
    credential: &str,
    at: &KeyPath,
    mistakes: &mut Mistakes,
) -> Option<Adapter> {
    match node {
        Ok(node) => Some((NodeKind::Node, Arc::new(node) as Arc<dyn CreateInvoice>)),
        Err(error) => {
            note_error(&error, credential, at, mistakes);
            None
        }
    }
}
