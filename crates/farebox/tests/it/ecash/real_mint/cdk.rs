//! CDK's mint and wallet, built from `conformance/cdk` for `cargo xtask test --all`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use farebox_testkit::parts::Part;

use super::{Software, Wallet};

/// Words of a mint that is worth nothing: those of the test vectors of BIP-39.
const MNEMONIC: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon \
                        abandon about";

pub(super) struct Cdk {
    program: PathBuf,
}

impl Cdk {
    pub(super) fn find() -> Option<Self> {
        let program = Part::Cdk.find("farebox-cdk")?;
        Some(Self { program })
    }
}

impl Software for Cdk {
    fn mint(&self, folder: &Path, port: u16, fee_ppk: u64) -> Command {
        let configuration = folder.join("mint.toml");
        fs::write(&configuration, document(port, fee_ppk)).unwrap();
        let mut command = Command::new(&self.program);
        command
            .arg("mint")
            .arg(folder.join("mint"))
            .arg(configuration)
            .env("CDK_MINTD_MNEMONIC", MNEMONIC);
        command
    }

    fn wallet(&self, folder: &Path, mint: &str, unit: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("wallet").arg(folder).args([mint, unit]);
        command
    }

    fn fill(&self, wallet: &Wallet, amount: u64) {
        wallet.run(&["fill", &amount.to_string()]);
    }
}

fn document(port: u16, fee_ppk: u64) -> String {
    format!(
        r#"
        [info]
        url = "http://127.0.0.1:{port}"
        listen_host = "127.0.0.1"
        listen_port = {port}
        mnemonic = "env:CDK_MINTD_MNEMONIC"
        input_fee_ppk = {fee_ppk}
        logging.output = "stderr"

        [database]
        engine = "sqlite"

        [[payment_backend]]
        backend = "fakewallet"
        unit = "sat"

        [[payment_backend]]
        backend = "fakewallet"
        unit = "msat"

        [fake_wallet]
        custom_payment_methods = []
        min_delay_time = 0
        max_delay_time = 0
        "#
    )
}
