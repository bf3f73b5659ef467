//! A browser as far as plain HTTP goes: it says that it wants HTML, keeps cookies by their rules
//! and runs no scripts.

use std::cell::RefCell;

use crate::harness::{Call, Challenge, Reply, TestGateway};

use super::BROWSER;

/// Somebody with a cookie jar.
#[derive(Clone, Debug, Default)]
pub(crate) struct Visitor {
    cookies: RefCell<Vec<Cookie>>,
}

/// One cookie, as the browser keeps it.
#[derive(Clone, Debug)]
pub(crate) struct Cookie {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) path: String,
    pub(crate) attributes: String,
}

impl Visitor {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Goes to an address.
    pub(crate) fn get(&self, gateway: &TestGateway, target: &str) -> Reply {
        self.send(gateway, &Call::get(target).header("Accept", BROWSER))
    }

    /// Sends a request with the cookies for it, and keeps those of its answer.
    pub(crate) fn send(&self, gateway: &TestGateway, call: &Call) -> Reply {
        let reply = gateway.send(&self.with_cookies(call));
        self.keep(&reply);
        reply
    }

    /// The request as the browser would send it.
    pub(crate) fn with_cookies(&self, call: &Call) -> Call {
        let cookies = self.cookies.borrow();
        let path = call.target.split('?').next().unwrap_or_default();
        let sent: Vec<String> = cookies
            .iter()
            .filter(|cookie| cookie.is_for(path))
            .map(|cookie| format!("{}={}", cookie.name, cookie.value))
            .collect();
        if sent.is_empty() {
            call.clone()
        } else {
            call.clone().header("Cookie", &sent.join("; "))
        }
    }

    pub(crate) fn keep(&self, reply: &Reply) {
        let mut cookies = self.cookies.borrow_mut();
        for line in reply.all("set-cookie") {
            let cookie = Cookie::parse(line);
            cookies.retain(|old| old.name != cookie.name || old.path != cookie.path);
            if !cookie.attributes.contains("Max-Age=0;") {
                cookies.push(cookie);
            }
        }
    }

    pub(crate) fn cookies(&self) -> Vec<Cookie> {
        self.cookies.borrow().clone()
    }

    /// The claims in the jar.
    pub(crate) fn claims(&self) -> Vec<Cookie> {
        let mut cookies = self.cookies();
        cookies.retain(|cookie| cookie.name != "farebox-returning");
        cookies
    }

    /// The only claim in the jar.
    #[track_caller]
    pub(crate) fn claim(&self) -> Cookie {
        let claims = self.claims();
        assert_eq!(claims.len(), 1, "{claims:?}");
        claims[0].clone()
    }

    /// Puts a cookie into the jar, as a cheat does.
    pub(crate) fn plant(&self, name: &str, value: &str, path: &str) {
        self.cookies.borrow_mut().push(Cookie {
            name: name.to_owned(),
            value: value.to_owned(),
            path: path.to_owned(),
            attributes: String::new(),
        });
    }

    /// Goes to an address, and pays for it on the page that comes.
    #[track_caller]
    pub(crate) fn pay_for(&self, gateway: &TestGateway, target: &str) -> Challenge {
        let challenge = Challenge::of(&self.get(gateway, target).expect(402));
        gateway.pay(&challenge.invoice);
        challenge
    }
}

impl Cookie {
    fn parse(line: &str) -> Self {
        let (pair, attributes) = line.split_once("; ").unwrap();
        let (name, value) = pair.split_once('=').unwrap();
        let path = attributes.split("; ").find_map(|a| a.strip_prefix("Path="));
        Self {
            name: name.to_owned(),
            value: value.to_owned(),
            path: path.unwrap().to_owned(),
            attributes: attributes.to_owned(),
        }
    }

    /// RFC 6265 section 5.1.4.
    fn is_for(&self, path: &str) -> bool {
        match path.strip_prefix(self.path.as_str()) {
            Some(rest) => rest.is_empty() || self.path.ends_with('/') || rest.starts_with('/'),
            None => false,
        }
    }

    /// How long it is kept, in seconds.
    pub(crate) fn max_age(&self) -> u64 {
        let age = self
            .attributes
            .split("; ")
            .find_map(|a| a.strip_prefix("Max-Age="));
        age.unwrap().parse().unwrap()
    }
}
