//! `farebox doctor`: one look at everything that has to be right before `serve` works.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::cli::DoctorArgs;
use crate::clock::SystemClock;
use crate::command::{Failure, read};
use crate::config::build::{Built, Context, Lookups, Money, NodeKind, build_text};
use crate::output;
use crate::running::open_options;

/// One thing that was looked at.
#[derive(Serialize)]
struct Finding {
    what: &'static str,
    ok: bool,
    detail: String,
}

impl Finding {
    fn of<T, E: std::error::Error>(
        what: &'static str,
        result: Result<T, E>,
        good: impl FnOnce(T) -> String,
    ) -> Self {
        match result {
            Ok(value) => Self {
                what,
                ok: true,
                detail: good(value),
            },
            Err(error) => Self {
                what,
                ok: false,
                detail: chain(&error),
            },
        }
    }
}

/// Looks, and prints what it finds.
///
/// # Errors
/// [`Failure::Reported`] when something is wrong with the configuration, [`Failure::Unsound`] when
/// something else is.
pub fn run(args: &DoctorArgs) -> Result<(), Failure> {
    super::serve::install_tls_provider();
    let text = read(&args.config)?;
    let context = Context {
        clock: Arc::new(SystemClock),
        money: if args.insecure_test_money {
            Money::Test
        } else {
            Money::Real
        },
        lookups: Lookups::Real,
        node: None,
    };
    let built = match build_text(&text, &context) {
        Ok(built) => built,
        Err(mistakes) => {
            let findings: Vec<_> = mistakes.iter().map(mistake).collect();
            print(&findings, args.json)?;
            return Err(Failure::Reported);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let findings = runtime.block_on(examine(&built, &context));
    print(&findings, args.json)?;
    if findings.iter().all(|finding| finding.ok) {
        Ok(())
    } else {
        Err(Failure::Unsound)
    }
}

fn mistake(mistake: &crate::config::mistake::Mistake) -> Finding {
    Finding {
        what: "configuration",
        ok: false,
        detail: mistake.to_string(),
    }
}

async fn examine(built: &Built, context: &Context) -> Vec<Finding> {
    let settings = &built.settings;
    let detail = format!("routes: {}", built.file.route.len());
    vec![
        Finding {
            what: "configuration",
            ok: true,
            detail,
        },
        port("gateway port", settings.listen),
        port("console port", settings.console.listen),
        store(built, context).await,
        folder("signing keys", &settings.secret_file),
        folder("admin token", &settings.console.token_file),
        node(built).await,
    ]
}

fn port(what: &'static str, address: SocketAddr) -> Finding {
    Finding::of(what, TcpListener::bind(address), |_| {
        format!("{address} is free")
    })
}

async fn store(built: &Built, context: &Context) -> Finding {
    let path = &built.settings.store_path;
    if !path.exists() {
        let detail = format!("{} will be made at the first start", path.display());
        return Finding {
            what: "store",
            ok: true,
            detail,
        };
    }
    let ledger = match farebox_ledger::open(&open_options(&built.settings, &context.clock)) {
        Ok((ledger, _)) => ledger,
        Err(error) => {
            return Finding {
                what: "store",
                ok: false,
                detail: chain(&error),
            };
        }
    };
    let balance = ledger.trial_balance().await;
    ledger.close().await;
    match balance {
        Ok(balance) => {
            let (ok, sum) = (balance.is_sound(), balance.sum);
            let detail = format!("trial balance {sum} msat, accounts: {}", balance.accounts);
            Finding {
                what: "store",
                ok,
                detail,
            }
        }
        Err(error) => Finding {
            what: "store",
            ok: false,
            detail: chain(&error),
        },
    }
}

fn folder(what: &'static str, file: &Path) -> Finding {
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

async fn node(built: &Built) -> Finding {
    let what = "lightning";
    match built.node.as_ref().map(|node| &node.kind) {
        None => Finding {
            what,
            ok: true,
            detail: "nothing is sold".to_owned(),
        },
        Some(NodeKind::Mock(_)) => Finding {
            what,
            ok: true,
            detail: "test money: anybody can pay for nothing".to_owned(),
        },
        Some(NodeKind::Address(node)) => Finding::of(what, node.resolve().await, |limits| {
            format!("the address takes {} to {}", limits.min, limits.max)
        }),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn print(findings: &[Finding], as_json: bool) -> Result<(), Failure> {
    if as_json {
        return Ok(output::json(&findings)?);
    }
    for finding in findings {
        let mark = if finding.ok { "ok   " } else { "WRONG" };
        output::line(format_args!("{mark} {}: {}", finding.what, finding.detail))?;
    }
    Ok(())
}
