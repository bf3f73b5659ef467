//! From the settings of one backend to its adapter. All of its mistakes are found before the first
//! of them ends the attempt.

use std::sync::Arc;

use farebox_core::Secret;
use farebox_lightning::cln::Cln;
use farebox_lightning::lnbits::Lnbits;
use farebox_lightning::lnd::{Lnd, Macaroon};
use farebox_lightning::lnurl::{Address, LightningAddress, LightningAddressOptions};
use farebox_lightning::mock::{MockNode, MockOptions};
use farebox_lightning::nwc::{Nwc, NwcOptions};
use farebox_lightning::phoenixd::Phoenixd;
use farebox_lightning::{AmountLimits, Backend};

use super::site::{NOBODY, Site};
use super::{Money, NodeKind};
use crate::choice::SecretSource;
use crate::file::{
    BackendKind, ClnSection, LightningAddressSection, LnbitsSection, LndSection, MockSection,
    NwcSection, PhoenixdSection,
};

/// Names 64 hex digits from which the mock node derives its key, so that a gateway that is started
/// again can still be paid the invoices it made before. Without it each start has its own.
const TEST_NODE_SECRET: &str = "FAREBOX_TEST_NODE_SECRET";

/// Stands for a connection string where look-ups are skipped: a well-formed one to nobody.
const URI_OF_NOBODY: &str = "nostr+walletconnect://\
    79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798\
    ?relay=wss%3A%2F%2Frelay.invalid\
    &secret=0000000000000000000000000000000000000000000000000000000000000001";

/// The same for a macaroon: what it would allow is not known.
const MACAROON_OF_NOBODY: &[u8] = b"0010location lnd";

/// Who guesses less than this many characters can tell us of payments.
const LEAST_WEBHOOK_SECRET: usize = 16;

type Adapter = (NodeKind, Backend);

/// The adapter that the section asks for.
pub(super) fn build(site: &mut Site<'_>) -> Option<Adapter> {
    match &site.section.kind {
        BackendKind::Lnd(section) => lnd(section, site).map(node),
        BackendKind::Cln(section) => cln(section, site).map(node),
        BackendKind::Phoenixd(section) => phoenixd(section, site).map(node),
        BackendKind::Lnbits(section) => lnbits(section, site).map(node),
        BackendKind::Nwc(section) => nwc(section, site).map(node),
        BackendKind::LightningAddress(section) => address(section, site),
        BackendKind::Mock(section) => mock(section, site),
    }
}

fn node<T>(node: T) -> Adapter
where
    Backend: From<Arc<T>>,
{
    (NodeKind::Node, Arc::new(node).into())
}

fn lnd(section: &LndSection, site: &mut Site<'_>) -> Option<Lnd> {
    let macaroon = site.macaroon(section.macaroon.as_ref(), MACAROON_OF_NOBODY);
    let macaroon = macaroon.map(|bytes| Macaroon::read(bytes.reveal()));
    let macaroon = macaroon.and_then(|read| site.at.key("macaroon").take(read));
    // Where nothing is said about refunds they are on as soon as the macaroon allows payments, and
    // then it needs to.
    let may_pay = macaroon.as_ref().is_some_and(Macaroon::may_pay);
    let mut options = site.node_options(&section.api, macaroon, may_pay)?;
    options.needs.hold = site.needs.hold;
    let lnd = site.made(Lnd::new(options), "macaroon")?;
    Some(lnd.with_private_hints(section.private_hints))
}

fn cln(section: &ClnSection, site: &mut Site<'_>) -> Option<Cln> {
    let rune = site.credential("rune", section.rune.as_ref());
    let options = site.node_options(&section.api, rune, true)?;
    site.made(Cln::new(options), "rune")
}

fn phoenixd(section: &PhoenixdSection, site: &mut Site<'_>) -> Option<Phoenixd> {
    let password = site.credential("password", section.password.as_ref());
    let secret = match &section.webhook_secret {
        Some(source) => webhook_secret(source, site).map(Some),
        None => Some(None),
    };
    let options = site.node_options(&section.api, password, true)?;
    site.made(Phoenixd::new(options, secret?), "password")
}

fn webhook_secret(source: &SecretSource, site: &mut Site<'_>) -> Option<Secret<String>> {
    let skipped = "x".repeat(LEAST_WEBHOOK_SECRET);
    let secret = site.secret("webhook_secret", source, &skipped)?;
    if secret.reveal().len() < LEAST_WEBHOOK_SECRET {
        let least = LEAST_WEBHOOK_SECRET;
        let reason = format!("is too short to prove anything: at least {least} characters");
        site.at.key("webhook_secret").note(reason);
        return None;
    }
    Some(secret)
}

/// It pays where an admin key is given.
fn lnbits(section: &LnbitsSection, site: &mut Site<'_>) -> Option<Lnbits> {
    let key = site.credential("key", section.key.as_ref());
    let admin_key = match &section.admin_key {
        Some(source) => site.secret("admin_key", source, NOBODY).map(Some),
        None => Some(None),
    };
    let options = site.node_options(&section.api, key, section.admin_key.is_some())?;
    site.made(Lnbits::new(options, admin_key?.as_ref()), "key")
}

fn nwc(section: &NwcSection, site: &mut Site<'_>) -> Option<Nwc> {
    let how = "the wallet's connection string, as { file = \"…\" } or { env = \"…\" }";
    let source = site.needed("uri", section.uri.as_ref(), how);
    let uri = source.and_then(|source| site.secret("uri", source, URI_OF_NOBODY));
    let min_amount = site.min_amount(section.min_amount);
    let call_timeout = site.call_timeout();
    let node = Nwc::new(NwcOptions {
        network: site.network(),
        min_amount,
        whole_sats: section.whole_sats,
        call_timeout,
        ..NwcOptions::new(uri?, site.clock())
    });
    site.at.key("uri").take(node)
}

fn address(section: &LightningAddressSection, site: &mut Site<'_>) -> Option<Adapter> {
    let allowed = site.allowed_hosts(&section.allow_hosts);
    let call_timeout = site.call_timeout();
    let how = "whom to pay, such as \"me@example.com\"";
    let written = site.needed("address", section.address.as_ref(), how)?;
    let address: Address = site.at.key("address").take(written.parse())?;
    let node = Arc::new(LightningAddress::new(LightningAddressOptions {
        network: site.network(),
        allowed,
        comment: section.comment,
        metadata_commitment: section.description_hash.into(),
        call_timeout,
        ..LightningAddressOptions::new(address, site.clock())
    }));
    Some((NodeKind::Address(Arc::clone(&node)), node.into()))
}

fn mock(section: &MockSection, site: &mut Site<'_>) -> Option<Adapter> {
    if site.context.money == Money::Real {
        let reason = "test money: anybody could pay for nothing. To try things out, start with \
                      --insecure-test-money";
        return site.at.key("backend").take(Err(reason));
    }
    let min = section.min_amount.map(|amount| amount.0);
    let node = MockNode::with_options(MockOptions {
        secret: test_node_secret(),
        limits: AmountLimits {
            min: min.unwrap_or(AmountLimits::ANY.min),
            ..AmountLimits::ANY
        },
        ..MockOptions::new(site.clock())
    });
    let node = Arc::new(site.at.key("backend").take(node)?);
    Some((NodeKind::Mock(Arc::clone(&node)), node.into()))
}

fn test_node_secret() -> Option<Secret<[u8; 32]>> {
    let digits = std::env::var(TEST_NODE_SECRET).ok()?;
    let mut secret = [0; 32];
    hex::decode_to_slice(digits.trim(), &mut secret).ok()?;
    Some(Secret::new(secret))
}
