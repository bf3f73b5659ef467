//! The Lightning node that makes invoices.

use std::sync::Arc;

use farebox_core::{Clock, Secret};
use farebox_lightning::CreateInvoice;
use farebox_lightning::Network;
use farebox_lightning::guard::{AllowedHost, AllowedHosts};
use farebox_lightning::lnurl::{Address, Comment, LightningAddress, LightningAddressOptions};
use farebox_lightning::mock::{MockNode, MockOptions};

use super::Context;
use super::server::not_zero;
use crate::config::choice::PriceSetting;
use crate::config::file::{ConfigFile, LightningBackend, LightningSection, NetworkSetting};
use crate::config::mistake::{KeyPath, Mistakes};

/// Names 64 hex digits from which the mock node derives its key, so that a gateway that is started
/// again can still be paid the invoices it made before. Without it each start has its own.
const TEST_NODE_SECRET: &str = "FAREBOX_TEST_NODE_SECRET";

/// Whether invoices may be paid with test money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Money {
    /// Only real money.
    Real,
    /// Test money: whoever asks the console's pay door gets a preimage.
    Test,
}

/// A node, and the settings it was built from.
#[derive(Clone)]
pub struct BuiltNode {
    /// What was written.
    section: LightningSection,
    /// The node.
    pub kind: NodeKind,
}

/// Which node it is.
#[derive(Clone)]
pub enum NodeKind {
    /// A wallet with a Lightning Address.
    Address(Arc<LightningAddress>),
    /// Test money.
    Mock(Arc<MockNode>),
}

impl BuiltNode {
    /// The node as the gateway sees it.
    pub fn as_create_invoice(&self) -> Arc<dyn CreateInvoice> {
        match &self.kind {
            NodeKind::Address(node) => Arc::clone(node) as Arc<dyn CreateInvoice>,
            NodeKind::Mock(node) => Arc::clone(node) as Arc<dyn CreateInvoice>,
        }
    }
}

fn at(key: &str) -> KeyPath {
    KeyPath::of("lightning").key(key)
}

/// Builds the node, or takes the one of the plan before where its settings are the same.
pub(super) fn node(
    file: &ConfigFile,
    context: &Context,
    mistakes: &mut Mistakes,
) -> Option<BuiltNode> {
    let Some(section) = &file.lightning else {
        if file
            .route
            .iter()
            .any(|route| matches!(route.price, Some(PriceSetting::Fixed(_))))
        {
            let reason = "is missing: a route has a price, so somebody has to be paid";
            mistakes.note(KeyPath::of("lightning"), None, reason);
        }
        return None;
    };
    let kind = kind(section, context, mistakes)?;
    match context
        .node
        .as_ref()
        .filter(|before| before.section == *section)
    {
        Some(before) => Some(before.clone()),
        None => Some(BuiltNode {
            section: section.clone(),
            kind,
        }),
    }
}

fn kind(
    section: &LightningSection,
    context: &Context,
    mistakes: &mut Mistakes,
) -> Option<NodeKind> {
    match section.backend {
        LightningBackend::LightningAddress => address(section, &context.clock, mistakes),
        LightningBackend::Mock => mock(section, context, mistakes),
    }
}

fn address(
    section: &LightningSection,
    clock: &Arc<dyn Clock>,
    mistakes: &mut Mistakes,
) -> Option<NodeKind> {
    let allowed = allowed_hosts(section, mistakes);
    let call_timeout = not_zero(at("timeout"), section.timeout, mistakes);
    let Some(written) = &section.address else {
        let reason = "is missing: write whom to pay, such as \"me@example.com\"";
        mistakes.note(at("address"), None, reason);
        return None;
    };
    let address: Address = mistakes.take(at("address"), written, written.parse())?;
    let options = LightningAddressOptions {
        network: network(section.network),
        allowed,
        comment: if section.comment {
            Comment::Memo
        } else {
            Comment::Nothing
        },
        call_timeout,
        ..LightningAddressOptions::new(address, Arc::clone(clock))
    };
    Some(NodeKind::Address(Arc::new(LightningAddress::new(options))))
}

fn allowed_hosts(section: &LightningSection, mistakes: &mut Mistakes) -> AllowedHosts {
    let parse = |(place, text): (usize, &String)| {
        let host: Result<AllowedHost, _> = text.parse();
        mistakes.take(at("allow_hosts").index(place), text, host)
    };
    AllowedHosts::new(
        section
            .allow_hosts
            .iter()
            .enumerate()
            .filter_map(parse)
            .collect(),
    )
}

const fn network(setting: NetworkSetting) -> Network {
    match setting {
        NetworkSetting::Mainnet => Network::Mainnet,
        NetworkSetting::Testnet => Network::Testnet,
        NetworkSetting::Signet => Network::Signet,
        NetworkSetting::Regtest => Network::Regtest,
    }
}

fn mock(
    section: &LightningSection,
    context: &Context,
    mistakes: &mut Mistakes,
) -> Option<NodeKind> {
    if section.address.is_some() {
        mistakes.note(
            at("address"),
            None,
            "makes no sense with the backend `mock`",
        );
    }
    if context.money == Money::Real {
        let reason = "test money: anybody could pay for nothing. To try things out, start with \
                      --insecure-test-money";
        mistakes.note(at("backend"), Some("\"mock\"".to_owned()), reason);
        return None;
    }
    let node = MockNode::with_options(MockOptions {
        secret: test_node_secret(),
        ..MockOptions::new(Arc::clone(&context.clock))
    });
    mistakes
        .take(at("backend"), "mock", node)
        .map(|node| NodeKind::Mock(Arc::new(node)))
}

fn test_node_secret() -> Option<Secret<[u8; 32]>> {
    let digits = std::env::var(TEST_NODE_SECRET).ok()?;
    let mut secret = [0; 32];
    hex::decode_to_slice(digits.trim(), &mut secret).ok()?;
    Some(Secret::new(secret))
}
