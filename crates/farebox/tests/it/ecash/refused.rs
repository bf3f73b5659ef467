//! Tokens that do not pay: they are refused before their mint is called, and stay their holder's.

use std::sync::Arc;

use super::real_mint::Mint;
use super::{opened, with_token};
use crate::harness::{Call, Reply};

at_each_mint! {
    too_little_is_refused_and_the_token_is_still_good,
    what_cannot_pay_is_told_why,
    a_token_that_was_spent_elsewhere_is_refused_and_costs_the_mint_one_call,
}

pub(super) fn reason(reply: &Reply) -> String {
    reply.json()["reason"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn too_little_is_refused_and_the_token_is_still_good(mint: &Arc<Mint>) {
    let (upstream, gateway) = opened(mint);
    let wallet = mint.wallet("msat", 10_000);
    let token = wallet.send(1_500);
    let refused = gateway
        .send(&with_token(&Call::get("/paid/a"), &token))
        .expect(400);
    assert_eq!(reason(&refused), "too_little");
    let told = refused.json();
    assert!(told["needed"].as_u64().unwrap() > 1_500, "{told}");
    assert_eq!(
        refused.find("x-cashu"),
        None,
        "it would be taken for change"
    );
    assert_eq!(upstream.total(), 0);
    let before = wallet.balance();
    wallet.receive(&token);
    assert!(wallet.balance() > before);
}

fn what_cannot_pay_is_told_why(mint: &Arc<Mint>) {
    let (upstream, gateway) = opened(mint);
    let token = mint.wallet("msat", 10_000).send(4_000);
    let call = Call::get("/paid/a");
    for (sent, why) in [
        ("cashuBjunk", "malformed"),
        ("lnbc1", "malformed"),
        // One satoshi of a mint that is no more.
        (
            "cashuAeyJ0b2tlbiI6W3sicHJvb2ZzIjpbeyJpZCI6IjBOSTNUVUFzMVNmeSIsImFtb3VudCI6MSwic2VjcmV0IjoiVE92cGVmZGxSZ0EzdlhMN05pM2MvRE1oY29URXNQdnV4eFc0Rys2dXVycz0iLCJDIjoiMDNiZThmMzQwOTMxYTI4ZTlkMGRmNGFmMWQwMWY1ZTcxNTFkMmQ1M2RiN2Y0ZDAyMWQzZGUwZmRiMDNjZGY4ZTlkIn1dLCJtaW50IjoiaHR0cHM6Ly9sZWdlbmQubG5iaXRzLmNvbS9jYXNodS9hcGkvdjEvNGdyOVhjbXozWEVrVU53aUJpUUdvQyJ9XX0",
            "other_mint",
        ),
    ] {
        let refused = gateway.send(&with_token(&call, sent)).expect(400);
        assert_eq!(reason(&refused), why);
    }
    let both = with_token(&call, &token).header("X-PAYMENT-SATS", &token);
    assert_eq!(reason(&gateway.send(&both).expect(400)), "ambiguous");
    let beside = with_token(&call, &token).header("Authorization", "Bearer sk-farebox-1");
    assert_eq!(reason(&gateway.send(&beside).expect(400)), "ambiguous");
    assert_eq!(upstream.total(), 0);
    gateway.send(&with_token(&call, &token)).expect(200);
}

fn a_token_that_was_spent_elsewhere_is_refused_and_costs_the_mint_one_call(mint: &Arc<Mint>) {
    let (upstream, gateway) = opened(mint);
    let wallet = mint.wallet("msat", 10_000);
    let token = wallet.send(4_000);
    wallet.receive(&token);
    for _ in 0..3 {
        let refused = gateway
            .send(&with_token(&Call::get("/paid/a"), &token))
            .expect(400);
        assert_eq!(reason(&refused), "spent");
    }
    assert_eq!(upstream.total(), 0);
    let pick_up = with_token(&Call::post("/.farebox/change", ""), &token);
    assert_eq!(reason(&gateway.send(&pick_up).expect(404)), "never_paid");
}
