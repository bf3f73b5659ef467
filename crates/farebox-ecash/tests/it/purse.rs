//! A mint, its client, and coins to swap.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use farebox_core::UnixMillis;
use farebox_ecash::{
    Branch, Examined, Mint, MintOptions, MintUrl, Proof, Seed, Swap, Token, TokenRefusal, Unit,
    ladder,
};
use farebox_http::body_budget::Holder;
use farebox_http::client::Trust;
use farebox_http::client_addr::AddressPrefix;
use farebox_testkit::mint::{MintOptions as TheirOptions, TestMint};

/// A mint and its client.
pub(crate) struct Place {
    pub(crate) theirs: TestMint,
    pub(crate) mint: Mint,
    counter: AtomicU32,
}

impl Place {
    pub(crate) fn with_fee(ppk: u64) -> Self {
        Self::of(TheirOptions::with_fee(ppk))
    }

    pub(crate) fn of(options: TheirOptions) -> Self {
        let theirs = TestMint::start(options).unwrap();
        let mint = Mint::new(MintOptions {
            url: MintUrl::parse(&theirs.url()).unwrap(),
            trust: Trust::Web,
            allow_plain_http: false,
            units: vec![Unit::Msat, Unit::Sat],
        });
        Self {
            theirs,
            mint: mint.unwrap(),
            counter: AtomicU32::new(0),
        }
    }

    pub(crate) async fn examine(&self, token: &str) -> Result<Examined, TokenRefusal> {
        let stranger = Holder::Stranger(AddressPrefix::of(Ipv4Addr::LOCALHOST.into()));
        let now = UnixMillis::new(1_900_000_000_000);
        self.mint
            .examine(Token::parse(token).unwrap(), stranger, now)
            .await
    }

    /// A swap of a token of this mint for coins of ours.
    pub(crate) async fn plan(&self, token: &str) -> Arc<Swap> {
        let examined = self.examine(token).await.unwrap();
        let keysets = self.mint.keysets().await.unwrap();
        let keyset = keysets.active(examined.unit).unwrap().id;
        let keys = self.mint.keys(keyset).await.unwrap();
        let amounts = ladder(examined.credit(), keys.denominations()).unwrap();
        let seed = Seed::new([7; 64]).branch(Branch::Change);
        let count = u32::try_from(amounts.len()).unwrap();
        let first = self.counter.fetch_add(count, Ordering::Relaxed);
        let outputs = (first..).zip(amounts);
        let outputs = outputs.map(|(number, amount)| seed.output(keyset, number, amount).unwrap());
        let planned = Swap::plan(examined.proofs, examined.fee, outputs.collect()).unwrap();
        // What is written down is what is sent, after a crash too.
        let written = planned.to_bytes().unwrap();
        Arc::new(Swap::from_bytes(&written).unwrap())
    }

    /// Checks that these coins are good, by spending them as a wallet would.
    pub(crate) fn spend(&self, proofs: &[Proof]) -> u64 {
        let unit = Unit::Msat;
        let with = farebox_ecash::WithDleq::Shown;
        let token = farebox_ecash::write_token(self.mint.url(), unit, proofs, with);
        self.theirs.redeem(&token).unwrap()
    }
}
