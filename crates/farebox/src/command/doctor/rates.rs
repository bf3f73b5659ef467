//! What `farebox doctor` finds out about exchange rates: every source is asked once.

use farebox_config::build::Built;
use farebox_core::Clock;
use farebox_http::client::GuardedClient;

use super::Finding;
use crate::output::chain;

/// Asks for every currency that is live. One source that fails is a warning; too few that agree
/// are wrong, for nothing could be sold.
pub(super) async fn examine(built: &Built, clock: &dyn Clock) -> Vec<Finding> {
    let live = &built.market.live;
    let client = GuardedClient::new(live.allow_hosts.clone());
    let mut findings = Vec::new();
    for currency in &live.currencies {
        let oldest = built.market.rates.oldest(clock.now());
        let survey = live.survey(&client, *currency, oldest).await;
        let what = format!("rate {}", currency.name());
        for (source, answer) in &survey.answers {
            let what = format!("{what} by {source}");
            findings.push(match answer {
                Ok(price) => Finding::ok(&what, format!("a bitcoin is {price}")),
                Err(error) => Finding::warning(&what, chain(error)),
            });
        }
        findings.push(Finding::of(&what, survey.agreed, |agreed| {
            format!("a bitcoin is {}, sources: {}", agreed.price, agreed.sources)
        }));
    }
    findings
}
