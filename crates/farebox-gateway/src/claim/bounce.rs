//! Asking a browser to come again by itself.
//!
//! Whoever follows a link from another site comes without our cookies, and a new invoice would take
//! the place of one that may be paid already. A page of our own that asks for the same address has
//! them with it.

use http::header::SET_COOKIE;
use http::{Response, StatusCode};

use crate::access_log::Exchange;
use crate::answer::AnswerBody;
use crate::outcome::Outcome;
use crate::page;

use super::visit::Visit;

/// The page that asks for its own address again.
pub(crate) fn come_again(exchange: &mut Exchange, visit: &Visit) -> Response<AnswerBody> {
    exchange.outcome = Outcome::OwedBriefly;
    let mut response = Response::new(AnswerBody::own(page::again()));
    *response.status_mut() = StatusCode::PAYMENT_REQUIRED;
    page::headers(response.headers_mut());
    if let Some(cookie) = visit.returning_cookie() {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}
