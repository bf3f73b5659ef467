//! Asking a browser to come again by itself.
//!
//! Whoever follows a link from another site comes without our cookies, and a new invoice would take
//! the place of one that may be paid already. A page of our own that asks for the same address has
//! them with it.

use http::header::SET_COOKIE;
use http::{Response, StatusCode};

use super::template::{Html, fill};
use crate::access_log::Exchange;
use crate::answer::AnswerBody;
use crate::claim::visit::Visit;
use crate::outcome::Outcome;

const AGAIN: &str = include_str!("again.html");

/// The page that asks for its own address again.
pub(crate) fn come_again(exchange: &mut Exchange, visit: &Visit) -> Response<AnswerBody> {
    exchange.outcome = Outcome::OwedBriefly;
    let page = fill(AGAIN, &[("style", Html::ours(super::STYLE))]);
    let mut response = Response::new(AnswerBody::own(page));
    *response.status_mut() = StatusCode::PAYMENT_REQUIRED;
    super::headers(response.headers_mut());
    if let Some(cookie) = visit.returning_cookie() {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}
