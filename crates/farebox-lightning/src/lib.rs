//! The Lightning node port and its adapters.
//!
//! The gateway enters through [`CreateInvoice`] and sees bolt11 text, a payment hash and an expiry;
//! which node made them stays here. Abilities are separate traits, so that a backend that cannot
//! look an invoice up does not pretend to. Nothing here touches the ledger or decides a price, and
//! no preimage leaves except from the mock node's own [`mock::MockNode::pay`].

mod access;
mod answer;
pub mod backends;
pub mod cln;
mod error;
pub mod follow;
mod invoice;
mod lenient;
mod limits;
pub mod lnbits;
pub mod lnd;
pub mod lnurl;
mod made;
pub mod mock;
mod node_options;
pub mod nwc;
mod pauses;
pub mod phoenixd;
mod port;
mod proof;
mod remembered;

/// Lets the port's traits be implemented, and work behind `Arc<dyn …>`.
pub use async_trait::async_trait;

pub use access::{AccessReport, CheckAccess, Needs};
pub use error::{AnswerFault, InvoiceFault, NodeError, WebhookError};
pub use invoice::{Description, Invoice, Network, parse_invoice};
pub use limits::AmountLimits;
pub use node_options::NodeOptions;
pub use port::{
    Backend, CreateInvoice, CreatedInvoice, HearWebhook, HoldInvoice, HoldState, InvoiceRequest,
    InvoiceState, LookupInvoice, PayInvoice, PaymentFailure, PaymentHashes, PaymentRequest,
    PaymentState, Settlement, SettlementCursor, WatchEvent, WatchSettlements, received_for,
};
