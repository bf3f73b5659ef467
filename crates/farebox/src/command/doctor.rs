//! `farebox doctor`: one look at everything that has to be right before `serve` works.

mod ecash;
mod lightning;
mod rates;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use farebox_config::build::{Built, Context, Lookups, Money, build_text};
use farebox_ledger::{LedgerError, TrialBalance};
use serde::Serialize;

use crate::cli::DoctorArgs;
use crate::command::{Failure, block_on, context, read};
use crate::output::{self, chain};
use crate::running::{has_its_keys, open_options};

/// One thing that was looked at.
#[derive(Serialize)]
struct Finding {
    what: String,
    /// Whether Farebox works as it is.
    ok: bool,
    mark: Mark,
    detail: String,
}

/// What is thought of it.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Mark {
    /// As it should be.
    Ok,
    /// It works, and could be better.
    Warn,
    /// It does not work.
    Wrong,
}

impl Finding {
    fn new(mark: Mark, what: &str, detail: impl Into<String>) -> Self {
        Self {
            what: what.to_owned(),
            ok: mark != Mark::Wrong,
            mark,
            detail: detail.into(),
        }
    }

    fn ok(what: &str, detail: impl Into<String>) -> Self {
        Self::new(Mark::Ok, what, detail)
    }

    fn warning(what: &str, detail: impl Into<String>) -> Self {
        Self::new(Mark::Warn, what, detail)
    }

    fn wrong(what: &str, detail: impl Into<String>) -> Self {
        Self::new(Mark::Wrong, what, detail)
    }

    fn of<T, E: std::error::Error>(
        what: &str,
        result: Result<T, E>,
        good: impl FnOnce(T) -> String,
    ) -> Self {
        match result {
            Ok(value) => Self::ok(what, good(value)),
            Err(error) => Self::wrong(what, chain(&error)),
        }
    }
}

/// Looks, and prints what it finds.
///
/// # Errors
/// [`Failure::Reported`] when something is wrong with the configuration, [`Failure::Unsound`] when
/// something else is.
pub(crate) fn run(args: &DoctorArgs) -> Result<(), Failure> {
    super::serve::install_tls_provider();
    let text = read(&args.config)?;
    let context = context(Money::of(args.insecure_test_money), Lookups::Real);
    let built = match build_text(&text, &context) {
        Ok(built) => built,
        Err(mistakes) => {
            let findings: Vec<_> = mistakes.iter().map(mistake).collect();
            print(&findings, args.json)?;
            return Err(Failure::Reported);
        }
    };
    let findings = block_on(async { Ok(examine(&built, &context).await) })?;
    print(&findings, args.json)?;
    if findings.iter().all(|finding| finding.ok) {
        Ok(())
    } else {
        Err(Failure::Unsound)
    }
}

fn mistake(mistake: &farebox_config::mistake::Mistake) -> Finding {
    Finding::wrong("configuration", mistake.to_string())
}

async fn examine(built: &Built, context: &Context) -> Vec<Finding> {
    let settings = &built.settings;
    let detail = format!("routes: {}", built.file.route.len());
    let mut findings = vec![
        Finding::ok("configuration", detail),
        port("gateway port", settings.gateway.listen),
        port("console port", settings.console.listen),
    ];
    findings.extend(store(built, context).await);
    findings.push(folder("admin token", &settings.console.token_file));
    findings.extend(lightning::examine(built, context.clock.as_ref()).await);
    findings.extend(ecash::examine(built).await);
    findings.extend(rates::examine(built, context.clock.as_ref()).await);
    findings
}

fn port(what: &str, address: SocketAddr) -> Finding {
    Finding::of(what, TcpListener::bind(address), |_| {
        format!("{address} is free")
    })
}

/// The store, and the keys that its tokens were signed with.
async fn store(built: &Built, context: &Context) -> Vec<Finding> {
    let keys = folder("signing keys", &built.settings.secret_file);
    let path = &built.settings.store_path;
    if !path.exists() {
        let detail = format!("{} will be made at the first start", path.display());
        return vec![Finding::ok("store", detail), keys];
    }
    let options = open_options(&built.settings, &context.clock);
    let ledger = match farebox_ledger::examine(&options) {
        Ok(damage) if !damage.is_empty() => {
            return vec![Finding::wrong("store", damage.join("; ")), keys];
        }
        Ok(_) => farebox_ledger::open(&options),
        Err(error) => Err(error),
    };
    let ledger = match ledger {
        Ok((ledger, _)) => ledger,
        Err(error) => return vec![Finding::wrong("store", chain(&error)), keys],
    };
    let balance = ledger.trial_balance().await;
    let has_its_keys = has_its_keys(&built.settings.secret_file, &ledger).await;
    ledger.close().await;
    let keys = match has_its_keys {
        Ok(true) => keys,
        Ok(false) => Finding::wrong(
            "signing keys",
            format!(
                "those of the store are not at {}: put the file back that belongs to it",
                built.settings.secret_file.display()
            ),
        ),
        Err(error) => Finding::wrong("signing keys", chain(&error)),
    };
    vec![judge(balance), keys]
}

fn judge(balance: Result<TrialBalance, LedgerError>) -> Finding {
    match balance {
        Ok(balance) => {
            let mark = if balance.is_sound() {
                Mark::Ok
            } else {
                Mark::Wrong
            };
            let (sum, accounts) = (balance.sum, balance.accounts);
            let detail = format!("trial balance {sum} msat, accounts: {accounts}");
            Finding::new(mark, "store", detail)
        }
        Err(error) => Finding::wrong("store", chain(&error)),
    }
}

fn folder(what: &str, file: &Path) -> Finding {
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let shown = file.display();
    let good = |_| {
        if file.exists() {
            format!("{shown}")
        } else {
            format!("{shown} will be made")
        }
    };
    Finding::of(what, folder.metadata(), good)
}

fn print(findings: &[Finding], as_json: bool) -> Result<(), Failure> {
    if as_json {
        return Ok(output::json(&findings)?);
    }
    for finding in findings {
        let mark = match finding.mark {
            Mark::Ok => "ok   ",
            Mark::Warn => "warn ",
            Mark::Wrong => "WRONG",
        };
        output::line(format_args!("{mark} {}: {}", finding.what, finding.detail))?;
    }
    Ok(())
}
