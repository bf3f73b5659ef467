//! From the settings of one backend to its adapter. Nobody is called here.

mod endpoint;
mod lnd;
mod nodes;

use std::sync::Arc;

use farebox_core::{Clock, Secret};
use farebox_lightning::guard::{AllowedHost, AllowedHosts};
use farebox_lightning::lnurl::{Address, Comment, LightningAddress, LightningAddressOptions};
use farebox_lightning::mock::{MockNode, MockOptions};
use farebox_lightning::{AmountLimits, Backend, Network};

use super::credentials::Credentials;
use super::{Context, Money, Needs, NodeKind};
use crate::build::server::not_zero;
use crate::file::{LightningBackend, LightningSection, NetworkSetting};
use crate::mistake::{KeyPath, Mistakes};

/// Names 64 hex digits from which the mock node derives its key, so that a gateway that is started
/// again can still be paid the invoices it made before. Without it each start has its own.
const TEST_NODE_SECRET: &str = "FAREBOX_TEST_NODE_SECRET";

type Adapter = (NodeKind, Backend);

/// The adapter that the section asks for.
pub(super) fn build(
    section: &LightningSection,
    credentials: Credentials,
    needs: Needs,
    at: &KeyPath,
    context: &Context,
    mistakes: &mut Mistakes,
) -> Option<Adapter> {
    match section.backend {
        LightningBackend::Lnd => lnd::build(section, credentials, needs, at, context, mistakes),
        LightningBackend::Cln => nodes::cln(section, credentials, needs, at, context, mistakes),
        LightningBackend::Phoenixd => {
            nodes::phoenixd(section, credentials, needs, at, context, mistakes)
        }
        LightningBackend::Lnbits => {
            nodes::lnbits(section, credentials, needs, at, context, mistakes)
        }
        LightningBackend::LightningAddress => address(section, at, &context.clock, mistakes),
        LightningBackend::Mock => mock(section, at, context, mistakes),
        LightningBackend::Nwc => nodes::nwc(section, credentials, at, context, mistakes),
    }
}

fn address(
    section: &LightningSection,
    at: &KeyPath,
    clock: &Arc<dyn Clock>,
    mistakes: &mut Mistakes,
) -> Option<Adapter> {
    let allowed = allowed_hosts(&section.allow_hosts, at, mistakes);
    let call_timeout = not_zero(at.key("timeout"), section.timeout(), mistakes);
    let written = section.address.as_ref()?;
    let address: Address = mistakes.take(at.key("address"), written, written.parse())?;
    let options = LightningAddressOptions {
        network: network(section.network),
        allowed,
        comment: if section.comment.unwrap_or(true) {
            Comment::Memo
        } else {
            Comment::Nothing
        },
        call_timeout,
        ..LightningAddressOptions::new(address, Arc::clone(clock))
    };
    let node = Arc::new(LightningAddress::new(options));
    Some((NodeKind::Address(Arc::clone(&node)), node.into()))
}

/// Hosts that are exempt from a rule, as they are written under `allow_hosts`.
pub(crate) fn allowed_hosts(
    written: &[String],
    at: &KeyPath,
    mistakes: &mut Mistakes,
) -> AllowedHosts {
    let parse = |(place, text): (usize, &String)| {
        let host: Result<AllowedHost, _> = text.parse();
        mistakes.take(at.key("allow_hosts").index(place), text, host)
    };
    AllowedHosts::new(written.iter().enumerate().filter_map(parse).collect())
}

/// The network under the name of the port.
pub(crate) fn network(setting: Option<NetworkSetting>) -> Network {
    match setting.unwrap_or_default() {
        NetworkSetting::Mainnet => Network::Mainnet,
        NetworkSetting::Testnet => Network::Testnet,
        NetworkSetting::Signet => Network::Signet,
        NetworkSetting::Regtest => Network::Regtest,
    }
}

fn mock(
    section: &LightningSection,
    at: &KeyPath,
    context: &Context,
    mistakes: &mut Mistakes,
) -> Option<Adapter> {
    if context.money == Money::Real {
        let reason = "test money: anybody could pay for nothing. To try things out, start with \
                      --insecure-test-money";
        mistakes.note(at.key("backend"), Some("\"mock\"".to_owned()), reason);
        return None;
    }
    let min = section
        .min_amount
        .map_or(AmountLimits::ANY.min, |amount| amount.0);
    let node = MockNode::with_options(MockOptions {
        secret: test_node_secret(),
        limits: AmountLimits {
            min,
            ..AmountLimits::ANY
        },
        ..MockOptions::new(Arc::clone(&context.clock))
    });
    let node = Arc::new(mistakes.take(at.key("backend"), "mock", node)?);
    Some((NodeKind::Mock(Arc::clone(&node)), node.into()))
}

fn test_node_secret() -> Option<Secret<[u8; 32]>> {
    let digits = std::env::var(TEST_NODE_SECRET).ok()?;
    let mut secret = [0; 32];
    hex::decode_to_slice(digits.trim(), &mut secret).ok()?;
    Some(Secret::new(secret))
}
