//! How many calls may be open, and whose they are.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use farebox_http::body_budget::Holder;
use farebox_http::client_addr::AddressPrefix;
use farebox_http::limits::{NoPlace, Place, Places};
use farebox_ledger::{HeldCall, HeldLimits};

use super::KeptRequest;

/// Room for calls that wait for their payment or run, and for the bytes of their requests.
pub(crate) struct Room {
    /// How much there is.
    pub(crate) limits: HeldLimits,
    calls: Arc<Places>,
    bytes: Arc<Places>,
}

/// The room that one call takes.
pub(crate) struct CallPlace {
    call: Place,
    bytes: Place,
}

impl Room {
    pub(super) fn new(limits: HeldLimits) -> Self {
        Self {
            limits,
            calls: Arc::default(),
            bytes: Arc::default(),
        }
    }

    /// Takes room for one more call from the share of whoever asks for it.
    pub(crate) fn take(&self, holder: Holder, request: &[u8]) -> Result<CallPlace, NoPlace> {
        let HeldLimits {
            max_calls,
            max_bytes,
        } = self.limits;
        let length = request.len() as u64;
        Ok(CallPlace {
            call: self.calls.take(max_calls.into(), holder, 1)?,
            bytes: self.bytes.take(max_bytes, holder, length)?,
        })
    }

    /// The room of a call that an earlier process let in.
    pub(super) fn occupy(&self, call: &HeldCall) -> CallPlace {
        let request = KeptRequest::parse(Bytes::copy_from_slice(&call.request));
        let client = request.map_or(IpAddr::V4([0; 4].into()), |request| request.client);
        let holder = Holder::Stranger(AddressPrefix::of(client));
        CallPlace {
            call: self.calls.occupy(holder, 1),
            bytes: self.bytes.occupy(holder, call.request.len() as u64),
        }
    }

    /// Calls that are open.
    pub(crate) fn calls_in_use(&self) -> u64 {
        self.calls.in_use()
    }
}

impl CallPlace {
    /// Its payment is held: it is no longer one of those that anybody can ask for.
    pub(super) fn pay(&mut self) {
        self.call.pay();
        self.bytes.pay();
    }
}
