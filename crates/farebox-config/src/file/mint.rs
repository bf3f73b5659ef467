//! The mints whose ecash is taken.

use std::path::PathBuf;

use crate::choice::Amount;
use crate::section::{choices, section};

use super::refunds::msat;

section! {
    /// A mint whose ecash is taken, where a route's `methods` say so. Coins of any other mint are refused.
    #[schemars(extend("required" = ["url"]))]
    pub struct MintSection {
        /// Where it is. In clear (`http://`) on this machine only, unless `allow_plain_http` says otherwise.
        pub url: String,
        /// The units whose coins are taken. What a request does not cost goes back exactly in `msat`; in
        /// `sat`, what is below one stays on the token's account.
        pub units: Vec<UnitSetting> = vec![UnitSetting::Msat, UnitSetting::Sat],
        /// How much of each unit may be held here at one time: a mint can fail. Past it other tokens are asked
        /// for.
        pub most: Amount = const { msat(1_000_000_000) },
        /// Its certificate, PEM: this one and no other is believed. Default: those that public
        /// authorities signed.
        pub tls_cert: Option<PathBuf>,
        /// Whether it may be called in clear on another machine.
        pub allow_plain_http: bool,
    }
}

choices! {
    /// A unit of ecash.
    pub enum UnitSetting => farebox_ecash::Unit {
        /// Millisatoshis.
        Msat,
        /// Satoshis.
        Sat,
    }

    /// How ecash is asked for.
    #[derive(Default)]
    pub enum RequestFormSetting => farebox_ecash::RequestForm {
        /// `creqA` (NUT-18), which every wallet reads.
        #[default]
        A,
        /// `creqB` (NUT-26).
        B,
    }
}
