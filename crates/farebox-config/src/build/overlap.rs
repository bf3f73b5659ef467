//! Whether a route would send its requests back to ourselves, which then ask for payment again.

use std::net::{IpAddr, SocketAddr};

use super::at::At;
use super::upstream::{self, Target};
use crate::file::ConfigFile;

/// Notes every upstream that is one of our own listeners.
pub(super) fn check(file: &ConfigFile, at: &At<'_>) {
    let listeners = [
        ("server.listen", file.server.listen),
        ("console.listen", file.console.listen),
    ];
    for (place, route) in file.route.iter().enumerate() {
        let Ok(target) = upstream::target(&route.upstream) else {
            continue;
        };
        let key = at.index(place).key("upstream");
        if let Some((name, _)) = listeners
            .iter()
            .find(|(_, listener)| reaches(&target, *listener))
        {
            key.note(format!("this is {name}: requests would come back here"));
        } else if is_public_url(&target, file) {
            key.note("this is server.public_url: requests would come back here");
        }
    }
}

fn reaches(target: &Target, listener: SocketAddr) -> bool {
    if listener.port() == 0 || target.port() != listener.port() {
        return false;
    }
    let host = target.authority.host();
    let literal = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    match literal {
        Ok(address) => {
            address == listener.ip()
                || address.is_unspecified()
                || (listener.ip().is_unspecified() && address.is_loopback())
        }
        Err(_) => {
            let local = host.eq_ignore_ascii_case("localhost");
            local && (listener.ip().is_loopback() || listener.ip().is_unspecified())
        }
    }
}

fn is_public_url(target: &Target, file: &ConfigFile) -> bool {
    let public = file.server.public_url.as_deref().map(upstream::target);
    let Some(Ok(public)) = public else {
        return false;
    };
    public
        .authority
        .host()
        .eq_ignore_ascii_case(target.authority.host())
        && public.port() == target.port()
}
