//! Who holds the payment of a call: the backend that made its invoice, for as long as the call is
//! open.
//!
//! A reload may take that backend out of the plan, or put another node under its name. The call
//! ends with the node it began with all the same; what the plan offers under the name is asked
//! first, since its credentials are the newer ones, and left where it never heard of the payment.

use std::sync::Arc;

use farebox_core::PaymentHash;
use farebox_lightning::backends::Backends;
use farebox_lightning::{Backend, HoldState};

/// The backend behind one call.
pub(super) struct Holder {
    name: String,
    hash: PaymentHash,
    /// The one that is known to have made the invoice, or that was found under the name.
    known: Option<Arc<Backend>>,
}

impl Holder {
    pub(super) const fn new(name: String, hash: PaymentHash, known: Option<Arc<Backend>>) -> Self {
        Self { name, hash, known }
    }

    /// The backend to ask at this moment; none where neither the plan nor this process ever had
    /// one of the name that holds payments.
    pub(super) async fn find(&mut self, plan: Option<&Backends>) -> Option<Arc<Backend>> {
        let planned = plan.and_then(|plan| plan.named(&self.name));
        let planned = planned.filter(|node| node.hold.is_some());
        let Some(planned) = planned else {
            return self.known.clone();
        };
        let is_another = |known: &Arc<Backend>| !Arc::ptr_eq(known, planned);
        if self.known.as_ref().is_some_and(is_another) && !self.knows(planned).await {
            return self.known.clone();
        }
        self.known = Some(Arc::clone(planned));
        self.known.clone()
    }

    /// Whether another node under the name has this invoice. One that does not answer is no help.
    async fn knows(&self, node: &Arc<Backend>) -> bool {
        let Some(hold) = &node.hold else {
            return false;
        };
        let state = hold.hold_state(self.hash).await;
        state.is_ok_and(|state| state != HoldState::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use farebox_core::{Msat, Preimage};
    use farebox_lightning::InvoiceRequest;
    use farebox_lightning::backends::NamedBackend;
    use farebox_lightning::mock::MockNode;
    use farebox_testkit::ManualClock;

    use super::*;

    const PREIMAGE: [u8; 32] = [7; 32];

    fn hash() -> PaymentHash {
        Preimage::from_bytes(PREIMAGE).payment_hash()
    }

    fn node() -> Arc<Backend> {
        let node = MockNode::new(Arc::new(ManualClock::default())).unwrap();
        Arc::new(Backend::from(Arc::new(node)))
    }

    async fn maker() -> Arc<Backend> {
        let node = node();
        let request = InvoiceRequest {
            amount: Msat::new(2_000).unwrap(),
            memo: "held".to_owned(),
            expiry: Duration::from_secs(60),
        };
        let hold = node.hold.as_deref().unwrap();
        hold.create_hold_invoice(hash(), request).await.unwrap();
        node
    }

    fn plan(name: &str, node: &Arc<Backend>) -> Backends {
        let (name, node) = (name.to_owned(), Arc::clone(node));
        Backends::new(vec![NamedBackend { name, node }]).unwrap()
    }

    fn holder(known: Option<&Arc<Backend>>) -> Holder {
        Holder::new("alice".to_owned(), hash(), known.cloned())
    }

    #[track_caller]
    fn assert_is(found: Option<Arc<Backend>>, node: &Arc<Backend>) {
        assert!(Arc::ptr_eq(&found.expect("somebody is asked"), node));
    }

    #[tokio::test]
    async fn a_backend_that_a_reload_took_away_is_asked_to_the_end() {
        let maker = maker().await;
        let mut holder = holder(Some(&maker));
        assert_is(holder.find(Some(&plan("bob", &node()))).await, &maker);
        assert_is(holder.find(None).await, &maker);
    }

    #[tokio::test]
    async fn after_a_restart_the_backend_of_the_plan_is_asked_and_then_kept() {
        let maker = maker().await;
        let mut holder = holder(None);
        assert!(holder.find(Some(&plan("bob", &maker))).await.is_none());
        assert_is(holder.find(Some(&plan("alice", &maker))).await, &maker);
        assert_is(holder.find(None).await, &maker);
    }

    #[tokio::test]
    async fn another_node_under_the_name_is_asked_only_where_it_knows_the_payment() {
        let maker = maker().await;
        let mut holder = holder(Some(&maker));
        assert_is(holder.find(Some(&plan("alice", &node()))).await, &maker);
        // The same node, called with another credential.
        let again = self::maker().await;
        assert_is(holder.find(Some(&plan("alice", &again))).await, &again);
        assert_is(holder.find(None).await, &again);
    }
}
