//! Children spend their parent's money, within limits.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use super::{PRICE, balance, bearer, buy, chat, child, post, shop};
use crate::harness::{Call, with_upstream};

#[test]
fn a_hundred_calls_at_once_never_pass_a_childs_limit() {
    let (_upstream, gateway) = with_upstream(shop);
    let parent = buy(&gateway, 1_000 * PRICE);
    let limits = json!({ "total_msat": 7 * PRICE + 1 });
    let child = child(&gateway, &parent.key, &limits);
    let call = bearer(Call::get("/paid/echo"), &child.key);
    let served = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                let reply = gateway.send(&call);
                match reply.status {
                    200 => served.fetch_add(1, Ordering::Relaxed),
                    429 => 0,
                    other => panic!("{other}: {}", reply.text()),
                };
            });
        }
    });
    assert_eq!(served.into_inner(), 7);
    assert_eq!(
        gateway.send(&call).expect(429).json()["reason"],
        "total_limit"
    );
    assert_eq!(balance(&gateway, &parent.key), 993 * PRICE);
}

#[test]
fn a_child_keeps_to_its_day_its_routes_and_its_models() {
    let (_upstream, gateway) = with_upstream(shop);
    let parent = buy(&gateway, 1_000_000);
    let limits = json!({ "per_day_msat": PRICE, "routes": ["paid"] });
    let daily = child(&gateway, &parent.key, &limits);
    let call = bearer(Call::get("/paid/echo"), &daily.key);
    gateway.send(&call).expect(200);
    let refused = gateway.send(&call).expect(429);
    assert!(refused.find("retry-after").is_some());
    assert_eq!(refused.json()["reason"], "day_limit");
    assert!(refused.json()["resets_at"].is_u64());
    let elsewhere = gateway.send(&bearer(chat(json!({})), &daily.key));
    assert_eq!(elsewhere.expect(403).json()["reason"], "wrong_route");
    let other = child(&gateway, &parent.key, &json!({ "models": ["large"] }));
    let refused = gateway.send(&bearer(chat(json!({})), &other.key));
    assert_eq!(refused.expect(403).json()["reason"], "wrong_model");
    let ended = child(&gateway, &parent.key, &json!({ "expires_at": 1 }));
    let refused = gateway.send(&bearer(Call::get("/paid/echo"), &ended.key));
    assert_eq!(refused.expect(401).json()["reason"], "expired");
    assert_eq!(balance(&gateway, &parent.key), 1_000_000 - PRICE);
}

#[test]
fn only_its_parent_sees_and_revokes_a_child() {
    let (_upstream, gateway) = with_upstream(shop);
    let (parent, stranger) = (buy(&gateway, 100_000), buy(&gateway, 100_000));
    // A key is credited when it is first looked at.
    assert_eq!(balance(&gateway, &stranger.key), 100_000);
    assert_eq!(balance(&gateway, &parent.key), 100_000);
    let child = child(&gateway, &parent.key, &json!({ "note": "for tests" }));
    let list = |key: &str| {
        let call = bearer(Call::get("/.farebox/keys/children"), key);
        let reply = gateway.send(&call).expect(200);
        assert!(!reply.text().contains("sk-farebox"));
        reply.json()["children"].clone()
    };
    assert_eq!(list(&parent.key)[0]["id"], child.id);
    assert_eq!(list(&stranger.key), json!([]));
    let delete = Call::new("DELETE", &format!("/.farebox/keys/children/{}", child.id));
    for other in [&stranger.key, &child.key] {
        gateway.send(&bearer(delete.clone(), other)).expect(404);
    }
    let call = bearer(Call::get("/paid/echo"), &child.key);
    gateway.send(&call).expect(200);
    gateway.send(&bearer(delete, &parent.key)).expect(200);
    assert_eq!(gateway.send(&call).expect(401).json()["reason"], "revoked");
    let grandchild = bearer(post("/.farebox/keys/children", &json!({})), &child.key);
    assert!([401, 403].contains(&gateway.send(&grandchild).status));
}
