//! Routes whose requests are written from a template of the seller's, and whose answers are cut down
//! to what is sold.
//!
//! The client's body is read, checked field by field and put into the template before anything is
//! priced, bound or paid: what is forwarded is what was priced, and nothing of a body that the route
//! does not name gets any further. A token is bound to what the client sent, never to what was made
//! of it. A route without a shape never comes here.

mod extract;
mod field;
mod template;

use std::sync::Arc;

use farebox_http::aside::beside;
use farebox_http::body_budget::{ByteBudget, Holder, Keep};
use farebox_http::headers::{ask_for_whole, is_websocket_upgrade};
use farebox_paywall::ask::is_probe;
use http::Method;
use http::header::{CONTENT_ENCODING, HeaderMap};

use crate::arrival::Arrival;
use crate::refusal::{BadFields, PaywallError, Refusal, RequestError};

pub use extract::{BadPath, Extract, Form, MAX_ANSWER_BYTES, MAX_PATHS, Path};
pub(crate) use extract::{Extracted, NotThere};
pub use field::{Field, FieldKind};
pub use template::{BadTemplate, MAX_FIELDS, MAX_TEMPLATE_BYTES, OtherFields, Template};

/// What is made of a route's requests and answers.
pub struct Shape {
    /// How requests are written; they pass as they came when absent.
    pub request: Option<Arc<Template>>,
    /// What answers are cut down to; they pass whole when absent.
    pub response: Option<Arc<Extract>>,
}

impl Shape {
    /// Puts what the client sent into the template. A body of more than `limit` bytes
    /// is refused.
    pub(crate) async fn fill(
        &self,
        arrival: &mut Arrival,
        limit: usize,
        budget: &Arc<ByteBudget>,
        holder: Holder,
    ) -> Result<(), Refusal> {
        if is_websocket_upgrade(&arrival.parts.headers) {
            return Err(BadFields::Upgrade.into());
        }
        let Some(template) = self.request.as_ref() else {
            return Ok(());
        };
        if is_probe(&arrival.parts.method) {
            return Ok(());
        }
        if arrival.parts.headers.contains_key(CONTENT_ENCODING) {
            return Err(BadFields::Compressed.into());
        }
        arrival.digest(limit, budget, Keep::Bytes).await?;
        let sent = arrival.read_bytes().ok_or(PaywallError::BodyNotKept)?;
        let (length, template) = (sent.len(), Arc::clone(template));
        let body = beside(Some(holder), length, move || template.fill(&sent)).await??;
        arrival.replace_body(body.into());
        Ok(())
    }

    /// Refuses a request that only asks about the resource: nothing is made of it, and it has no answer
    /// to take anything out of.
    pub(crate) fn check_method(method: &Method) -> Result<(), Refusal> {
        if is_probe(method) {
            return Err(RequestError::only(&[Method::GET, Method::POST]).into());
        }
        Ok(())
    }

    /// Makes the head of a request fit for its upstream.
    pub(crate) fn prepare(
        &self,
        method: &mut Method,
        headers: &mut HeaderMap,
    ) -> Result<(), Refusal> {
        Self::check_method(method)?;
        if let Some(template) = &self.request {
            method.clone_from(template.method());
        }
        if self.response.is_some() {
            ask_for_whole(headers);
        }
        Ok(())
    }
}
