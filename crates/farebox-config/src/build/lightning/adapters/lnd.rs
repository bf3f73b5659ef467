//! LND. What its macaroon has to allow depends on what else the file asks for.

use farebox_lightning::Needs as NodeNeeds;
use farebox_lightning::lnd::{Lnd, LndOptions, Macaroon};

use super::super::credentials::Credentials;
use super::endpoint::Endpoint;
use super::nodes::finish;
use super::{Adapter, Needs};
use crate::build::Context;
use crate::file::LightningSection;
use crate::mistake::{KeyPath, Mistakes};

pub(super) fn build(
    section: &LightningSection,
    credentials: Credentials,
    needs: Needs,
    at: &KeyPath,
    context: &Context,
    mistakes: &mut Mistakes,
) -> Option<Adapter> {
    let endpoint = Endpoint::read(section, credentials.certificates, at, context, mistakes);
    section.macaroon.as_ref()?;
    let macaroon = Macaroon::read(credentials.macaroon.reveal());
    let macaroon = mistakes.take(at.key("macaroon"), "", macaroon)?;
    let node = Lnd::new(options(endpoint?, macaroon, section, needs));
    finish(node, "macaroon", at, mistakes)
}

fn options(
    endpoint: Endpoint,
    macaroon: Macaroon,
    section: &LightningSection,
    needs: Needs,
) -> LndOptions {
    let common = endpoint.common;
    // Where nothing is said about refunds they are on as soon as the macaroon allows payments, and
    // then it needs to.
    let pay = needs.refunds.unwrap_or_else(|| macaroon.may_pay());
    let defaults = LndOptions::new(endpoint.url, macaroon, common.clock);
    LndOptions {
        network: common.network,
        trust: endpoint.trust,
        allow_plain_http: endpoint.allow_plain_http,
        min_amount: common.min_amount.unwrap_or(defaults.min_amount),
        call_timeout: common.call_timeout,
        private_hints: section.private_hints,
        needs: NodeNeeds {
            pay,
            hold: needs.hold,
        },
        ..defaults
    }
}
