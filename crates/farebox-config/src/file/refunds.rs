//! Money that goes back, keys that are paid for in advance, and calls that wait for their payment.

use farebox_core::Msat;

use crate::choice::Amount;
use crate::section::section;
use crate::units::ByteSize;

section! {
    /// Whether and how holders of tokens and prepaid keys get back what they did not use.
    pub struct RefundsSection {
        /// Whether the holder of a token may ask, at `/.farebox/refund`, and that of a key, at
        /// `/.farebox/keys/refund`. The operator always may. Default: where a backend can look up and pay.
        pub enabled: Option<bool>,
        /// The least amount that is paid out.
        pub least: Amount = const { msat(1_000) },
        /// The most that holders get back in 24 hours, all together, without fees. One token or key gets a
        /// quarter of what the others left.
        pub daily_total: Amount = const { msat(100_000_000) },
        /// How often one token, or one key, may ask in 24 hours.
        #[schemars(range(min = 1))]
        pub per_token_per_day: u32 = 5,
        /// Payments that may be under way or of unknown outcome at one time. Those that are asked for
        /// from one address prefix leave room for others.
        #[schemars(range(min = 1))]
        pub max_open: u32 = 100,
        /// The most that routing may cost. It comes out of the refund.
        pub max_fee: MaxFeeTable,
        /// Exact `host:port` pairs of Lightning Addresses that may be called in clear and at private
        /// addresses. Everything else must be https at a public address.
        pub allow_hosts: Vec<String>,
    }
}

section! {
    /// A limit on routing fees: so many percent of the amount, but never less than `msat`.
    #[derive(Copy)]
    pub struct MaxFeeTable {
        /// Percent of the amount.
        #[schemars(range(max = 100))]
        pub percent: u32 = 1,
        /// Millisatoshi that are always allowed.
        pub msat: u64 = 5_000,
    }
}

section! {
    /// Prepaid keys.
    pub struct KeysSection {
        /// Whether keys are sold. Default: true where every backend says what was received. Keys that
        /// were sold before are good either way.
        pub enabled: Option<bool>,
    }
}

section! {
    /// Room for calls that wait for a held payment (`on_failure = "cancel"`).
    pub struct HeldSection {
        /// How many calls are kept at one time. Each holds a connection to the node open. Those that are
        /// not paid yet may be a half of them, and those of one address prefix leave room for others.
        #[schemars(range(min = 1))]
        pub max_calls: u32 = 128,
        /// Their requests, in all.
        pub max_bytes: ByteSize = ByteSize(64 << 20),
        /// The longest answer. A longer one is a failure, and the payment goes back.
        pub max_answer: ByteSize = ByteSize(1 << 20),
    }
}

/// An amount that is known when the program is written.
pub(super) const fn msat(msat: u64) -> Amount {
    match Msat::new(msat) {
        Ok(amount) => Amount(amount),
        Err(_) => panic!("more than all bitcoin"),
    }
}
