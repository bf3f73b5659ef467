//! A reload: a whole new plan, or the old one and the reason why.

use std::collections::BTreeSet;
use std::sync::Arc;

use farebox_config::build::Money;
use farebox_config::file::ConfigFile;
use farebox_core::Clock;
use serde_json::{Map, Value};

use super::{Origin, build_origin, context};
use crate::command::Failure;
use crate::running::Running;

/// Settings of `[server]` that are part of the plan.
const IN_PLAN: [&str; 8] = [
    "bad_credential",
    "invoice_expiry",
    "legacy_challenge",
    "overtime",
    "path_parameters",
    "public_url",
    "trusted_proxies",
    "underscores_in_headers",
];

/// Sections that are fixed for the life of the process, but for [`IN_PLAN`].
const FIXED: [&str; 5] = ["server", "console", "store", "log", "held"];

/// Reads the configuration again. Requests on their way keep the plan they began with.
pub(super) fn reload(running: &mut Running, origin: &Origin, clock: &Arc<dyn Clock>, money: Money) {
    running.reopen();
    let node = running.node.clone();
    match build_origin(origin, &context(clock, money, node)) {
        Ok(built) => {
            for key in fixed_changes(&running.file, &built.file) {
                tracing::warn!(key, "this setting changes only with a restart");
            }
            running.replace(built);
            tracing::info!("the configuration was read again");
        }
        Err(Failure::Config { mistakes, .. }) => {
            for mistake in mistakes.iter() {
                tracing::error!(%mistake, "the configuration has a mistake; the old one stays");
            }
        }
        Err(failure) => {
            let error = &failure as &dyn std::error::Error;
            tracing::error!(error, "the configuration was not read; the old one stays");
        }
    }
}

/// Settings outside of the plan that differ.
fn fixed_changes(before: &ConfigFile, after: &ConfigFile) -> Vec<String> {
    let flat = |file: &ConfigFile| {
        let value = serde_json::to_value(file).unwrap_or_default();
        FIXED.map(|section| value[section].clone())
    };
    let sections = FIXED.into_iter();
    let changes = sections.zip(flat(before)).zip(flat(after));
    changes
        .flat_map(|((name, before), after)| changed_keys(name, &before, &after))
        .collect()
}

fn changed_keys(section: &str, before: &Value, after: &Value) -> Vec<String> {
    let tables = [before, after].into_iter().filter_map(Value::as_object);
    let keys: BTreeSet<_> = tables.flat_map(Map::keys).collect();
    let is_planned = |key: &str| section == "server" && IN_PLAN.contains(&key);
    let changed = |key: &&String| !is_planned(key) && before.get(key) != after.get(key);
    let changed = keys.into_iter().filter(changed);
    changed.map(|key| format!("{section}.{key}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use farebox_config::load::load;

    #[test]
    fn settings_that_need_a_restart_are_named() {
        let before = load("").file;
        let after = load(
            "[server]\nthreads = 3\npublic_url = \"https://a.example\"\n\
             [server.challenges]\ntotal = \"1/1s\"\n[store]\nretention = \"1d\"\n",
        );
        let named = fixed_changes(&before, &after.file);
        assert_eq!(
            named,
            ["server.challenges", "server.threads", "store.retention"]
        );
        assert!(fixed_changes(&before, &before).is_empty());
    }
}
