//! nutshell, from PyPI.

use std::path::{Path, PathBuf};
use std::process::Command;

use farebox_testkit::parts::Part;

use super::{Software, Wallet};

pub(super) struct Nutshell {
    programs: PathBuf,
}

impl Nutshell {
    pub(super) fn find() -> Option<Self> {
        let programs = Part::Nutshell.find("venv/bin")?;
        Some(Self { programs })
    }

    /// Not by the script's own first line: that names the place where it was installed at first.
    fn script(&self, name: &str, folder: &Path) -> Command {
        let mut command = Command::new(self.programs.join("python"));
        command
            .arg(self.programs.join(name))
            .env("CASHU_DIR", folder)
            .env("TOR", "FALSE")
            .current_dir(folder);
        command
    }
}

impl Software for Nutshell {
    fn mint(&self, folder: &Path, port: u16, fee_ppk: u64) -> Command {
        let mut command = self.script("mint", folder);
        command
            .envs([
                ("MINT_BACKEND_BOLT11_SAT", "FakeWallet"),
                ("MINT_BACKEND_BOLT11_MSAT", "FakeWallet"),
                // The second is the path of millisatoshis.
                (
                    "MINT_DERIVATION_PATH_LIST",
                    r#"["m/0'/0'/0'","m/0'/1'/0'"]"#,
                ),
                ("FAKEWALLET_DELAY_INCOMING_PAYMENT", "0"),
                ("MINT_PRIVATE_KEY", "a mint of tests"),
                ("MINT_LISTEN_HOST", "127.0.0.1"),
            ])
            .env("MINT_INPUT_FEE_PPK", fee_ppk.to_string())
            .env("MINT_LISTEN_PORT", port.to_string())
            .env("MINT_DATABASE", folder.join("mint"));
        command
    }

    fn wallet(&self, folder: &Path, mint: &str, unit: &str) -> Command {
        let mut command = self.script("cashu", folder);
        command
            .args(["--yes", "--unit", unit])
            .env("MINT_URL", mint);
        command
    }

    /// Waiting for the payment is done by asking twice: nutshell's own way to wait misses one that comes while
    /// it subscribes.
    fn fill(&self, wallet: &Wallet, amount: u64) {
        let amount = amount.to_string();
        let said = wallet.run(&["invoice", &amount, "--no-check"]);
        let mut words = said.split_whitespace().skip_while(|word| *word != "--id");
        let quote = words.nth(1).unwrap_or_else(|| panic!("no quote in {said}"));
        wallet.run(&["invoice", &amount, "--id", quote]);
    }
}
