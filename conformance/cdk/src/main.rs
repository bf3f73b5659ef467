//! A mint of CDK, and its wallet. What the mint's Lightning node is, is in its configuration.
//!
//! ```text
//! farebox-cdk mint FOLDER CONFIGURATION       runs it; the configuration takes the place of the last one
//! farebox-cdk wallet FOLDER MINT UNIT fill AMOUNT
//! farebox-cdk wallet FOLDER MINT UNIT balance
//! farebox-cdk wallet FOLDER MINT UNIT send AMOUNT
//! farebox-cdk wallet FOLDER MINT UNIT receive TOKEN
//! ```

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use cdk::amount::SplitTarget;
use cdk::nuts::{MintQuoteState, PaymentMethod};
use cdk::wallet::types::KeysetLoadPolicy;
use cdk::wallet::{ReceiveOptions, SendOptions, Wallet, WalletBuilder};
use cdk_mintd::{BdkWalletPolicy, MintInitializationMode};
use cdk_sqlite::WalletSqliteDatabase;
use tokio::runtime::Runtime;

fn main() -> Result<()> {
    let runtime = Arc::new(Runtime::new()?);
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["mint", folder, configuration] => {
            let mint = mint(Path::new(folder), Path::new(configuration), &runtime);
            runtime.block_on(mint)
        }
        ["wallet", folder, mint, unit, words @ ..] => runtime.block_on(async {
            let wallet = open(Path::new(folder), mint, unit).await?;
            println!("{}", run(&wallet, words).await?);
            Ok(())
        }),
        _ => bail!("mint or wallet?"),
    }
}

async fn mint(folder: &Path, configuration: &Path, runtime: &Arc<Runtime>) -> Result<()> {
    let document = fs::read_to_string(configuration)?;
    let policy = BdkWalletPolicy::RequireExisting;
    if folder.exists() {
        cdk_mintd::apply_configuration(folder, &document, false, policy, None).await?;
    } else {
        fs::create_dir(folder)?;
        let mode = MintInitializationMode::New;
        cdk_mintd::initialize_configuration(folder, &document, mode, policy, None).await?;
    }
    let runtime = Some(Arc::clone(runtime));
    cdk_mintd::run_mintd_from_database(folder, None, true, runtime, Vec::new()).await
}

/// The wallet in this folder, which is made when it is not there.
async fn open(folder: &Path, mint: &str, unit: &str) -> Result<Wallet> {
    let seed = folder.join("seed");
    if !seed.exists() {
        let mut random = [0; 64];
        File::open("/dev/urandom")?.read_exact(&mut random)?;
        fs::write(&seed, random)?;
    }
    let seed = fs::read(seed)?.try_into();
    let store = WalletSqliteDatabase::new(folder.join("wallet.sqlite")).await?;
    let wallet = WalletBuilder::new()
        .mint_url(mint.parse()?)
        .unit(unit.parse()?)
        .localstore(Arc::new(store))
        .seed(seed.ok().context("the seed has another length")?)
        .without_rate_limiting()
        .build()?;
    // A token may be of a keyset that the wallet does not know yet, and it does not ask then.
    wallet.keysets(KeysetLoadPolicy::Refresh).await?;
    Ok(wallet)
}

async fn run(wallet: &Wallet, words: &[&str]) -> Result<String> {
    Ok(match words {
        ["fill", amount] => {
            fill(wallet, amount.parse()?).await?;
            String::new()
        }
        ["balance"] => format!("Balance: {}", wallet.total_balance().await?),
        ["send", amount] => {
            let amount = amount.parse::<u64>()?.into();
            let prepared = wallet.prepare_send(amount, SendOptions::default());
            prepared.await?.confirm(None).await?.to_string()
        }
        ["receive", token] => {
            let received = wallet.receive(token, ReceiveOptions::default());
            received.await?.to_string()
        }
        _ => bail!("fill, balance, send or receive?"),
    })
}

/// Mints so much, as soon as the invoice is paid, which the mint's own node does.
async fn fill(wallet: &Wallet, amount: u64) -> Result<()> {
    let quote = wallet.mint_quote(PaymentMethod::BOLT11, Some(amount.into()), None, None);
    let quote = quote.await?.id;
    while wallet.check_mint_quote_status(&quote).await?.state != MintQuoteState::Paid {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    wallet.mint(&quote, SplitTarget::default(), None).await?;
    Ok(())
}
