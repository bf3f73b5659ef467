//! Why coins do not pay for a request. Until a mint has swapped them they are still their holder's.

use farebox_ecash::{KeysFault, KeysetError, MintFault, MintUrl, TokenError, TokenRefusal, Unit};
use farebox_wire::problem::{Problem, ProblemKind};
use http::StatusCode;

use super::entry::{BRIEFLY, Entry, OUTAGE};

/// Where what is left of coins is fetched.
const PICK_UP: &str = "/.farebox/change";

/// Why coins do not pay.
#[derive(Debug, thiserror::Error)]
pub enum EcashError {
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("tokens of {0} are not taken here")]
    Mint(MintUrl),
    #[error(transparent)]
    Refusal(TokenRefusal),
    #[error("the token is worth {face} {unit}, and this request takes {needed}")]
    TooLittle { face: u64, needed: u64, unit: Unit },
    #[error("the token is worth more than is taken at once")]
    TooMuch,
    #[error("this token was spent before")]
    Spent,
    #[error("this token paid for a request before; POST it to {PICK_UP} for what is left of it")]
    Used,
    #[error(
        "less is left of this token than the request can cost; send a new one, and POST this one to \
         {PICK_UP} for what is left of it"
    )]
    UsedUp,
    #[error("the request has no token; send it as X-Cashu")]
    NoToken,
    #[error("this token never paid for a request here")]
    NeverPaid,
    #[error("the request that this token pays for is still being served")]
    Running,
    #[error("some coins of the token were brought before, together with others")]
    Overlaps,
    #[error("the request has more than one credential; send exactly one token")]
    Ambiguous,
    #[error("the mint does not take this token")]
    Refused(#[source] MintFault),
    #[error(
        "with the whole of this token more of this mint's money would be held here than is taken; send a \
         smaller one, or one of another mint"
    )]
    Exposed,
    #[error("the same token is being redeemed; ask again for its answer")]
    InFlight,
    #[error("the mint does not answer; the token is not lost: send the same request with it again")]
    Away(#[source] MintFault),
    #[error("the mint does not say what became of the token; send the same request with it again")]
    Untold,
    #[error("the mint's keys cannot be used")]
    Keyset(#[from] KeysetError),
    #[error("too many tokens wait for their mints; ask again")]
    Busy,
    #[error("there is no secret to make coins of")]
    NoSeed,
    #[error("a swap could not be planned or read")]
    Plan,
}

impl From<TokenRefusal> for EcashError {
    fn from(refusal: TokenRefusal) -> Self {
        match refusal {
            TokenRefusal::Mint(fault) => Self::Away(fault),
            TokenRefusal::Busy => Self::Busy,
            refusal => Self::Refusal(refusal),
        }
    }
}

impl From<KeysFault> for EcashError {
    fn from(fault: KeysFault) -> Self {
        match fault {
            KeysFault::Mint(fault) => Self::Away(fault),
            KeysFault::Keyset(fault) => Self::Keyset(fault),
        }
    }
}

impl EcashError {
    /// Its line of the table. NUT-24 wants 400 where another token would do.
    pub const fn entry(&self) -> Entry {
        let refused = Entry::new(ProblemKind::ECASH_REFUSED);
        let away = Entry::new(ProblemKind::MINT_UNAVAILABLE);
        match self {
            Self::Token(_) => refused.because("malformed"),
            Self::Mint(_) => refused.because("other_mint"),
            Self::Refusal(refusal) => refused.because(reason(refusal)),
            Self::TooLittle { .. } => refused.because("too_little"),
            Self::TooMuch => refused.because("too_much"),
            Self::Spent => refused.because("spent"),
            Self::Used => refused.because("used"),
            Self::UsedUp => Entry::new(ProblemKind::CREDENTIAL_EXHAUSTED).because("used_up"),
            Self::NoToken => refused.because("no_token"),
            Self::NeverPaid => Entry::new(ProblemKind::NOT_FOUND).because("never_paid"),
            Self::Running => Entry::new(ProblemKind::REQUEST_IN_FLIGHT)
                .with_status(StatusCode::TOO_EARLY)
                .again_in(BRIEFLY),
            Self::Overlaps => refused.because("overlaps"),
            Self::Ambiguous => refused.because("ambiguous"),
            Self::Refused(_) => refused.because("mint_refused"),
            Self::Exposed => away.because("exposed"),
            Self::InFlight => Entry::new(ProblemKind::REQUEST_IN_FLIGHT).again_in(BRIEFLY),
            Self::Away(_) | Self::Untold | Self::Keyset(_) => away.again_in(OUTAGE),
            Self::Busy => Entry::new(ProblemKind::OVERLOADED).again_in(OUTAGE),
            Self::NoSeed | Self::Plan => Entry::new(ProblemKind::INTERNAL),
        }
    }

    /// Adds to the problem document what this error alone can tell.
    pub fn describe(&self, problem: Problem) -> Problem {
        match self {
            Self::TooLittle { needed, unit, .. } => {
                problem.with("needed", *needed).with("unit", unit.as_str())
            }
            _ => problem,
        }
    }
}

const fn reason(refusal: &TokenRefusal) -> &'static str {
    match refusal {
        TokenRefusal::Keyset(_) => "keyset",
        TokenRefusal::Unit(_) => "other_unit",
        TokenRefusal::Locked(_) => "locked",
        TokenRefusal::NoSuchCoin(_) | TokenRefusal::Forged => "forged",
        TokenRefusal::Expiring => "expiring",
        TokenRefusal::Dust { .. } => "too_little",
        TokenRefusal::Token(_) => "malformed",
        TokenRefusal::Mint(_) | TokenRefusal::Busy => "unavailable",
    }
}
