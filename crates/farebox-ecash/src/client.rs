//! The calls to one mint: what is sent, and what of its answer is read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cashu::nuts::PublicKey;
use farebox_http::client::{Answer, CallError, TrustedClient};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::fault::MintFault;
use crate::keyset::{KeysetId, Keysets};
use crate::proof::Y;
use crate::seed::Output;
use crate::swap::{Signature, Swap};
use crate::wire::{
    CoinState, InfoJson, KeysJson, KeysetsJson, MintInfo, RestoreBody, RestoredJson,
    SignaturesJson, StatesBody, StatesJson, SwapBody,
};

/// From the start of a call to the last byte of its answer.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a swap is read on whose answer nobody waits for any more.
const SWAP_READ_FOR: Duration = Duration::from_secs(60);

/// A mint that is called over HTTP.
#[derive(Clone)]
pub(crate) struct MintClient(pub(crate) TrustedClient);

impl MintClient {
    pub(crate) async fn info(&self) -> Result<MintInfo, MintFault> {
        let info: InfoJson = self.get("/v1/info").await?;
        Ok(info.read())
    }

    pub(crate) async fn keysets(&self) -> Result<Keysets, MintFault> {
        let keysets: KeysetsJson = self.get("/v1/keysets").await?;
        Ok(keysets.read())
    }

    pub(crate) async fn keys(&self, id: KeysetId) -> Result<BTreeMap<u64, PublicKey>, MintFault> {
        let answer = self.0.get(&format!("/v1/keys/{id}")).await;
        let answer = success(answer.map_err(MintFault::of_call)?)?;
        let keys: KeysJson = read(&answer)?;
        keys.read(id)
            .ok_or_else(|| MintFault::unread(&answer, "keys that cannot be read"))
    }

    /// Waits no longer than for other calls, and goes on reading all the same: some mints give up what they
    /// are at when their client leaves, and then keep its coins as "pending".
    pub(crate) async fn swap(&self, swap: &Arc<Swap>) -> Result<Vec<Signature>, MintFault> {
        let (client, swap) = (self.0.with_timeout(SWAP_READ_FOR), Arc::clone(swap));
        let call = tokio::spawn(async move {
            let body = SwapBody::new(swap.inputs(), swap.outputs());
            client.post_json("/v1/swap", &body).await
        });
        let Ok(Ok(answer)) = timeout(CALL_TIMEOUT, call).await else {
            return Err(MintFault::Lost(CallError::TimedOut {
                host: self.0.host().to_owned(),
                limit: CALL_TIMEOUT,
            }));
        };
        let answer = success(answer.map_err(MintFault::of_call)?)?;
        let signatures: SignaturesJson = read(&answer)?;
        Ok(signatures.read())
    }

    pub(crate) async fn restore(
        &self,
        outputs: &[Output],
    ) -> Result<Vec<(PublicKey, Signature)>, MintFault> {
        let body = RestoreBody::new(outputs);
        let answer = self.0.post_json("/v1/restore", &body).await;
        let answer = success(answer.map_err(MintFault::of_call)?)?;
        let restored: RestoredJson = read(&answer)?;
        restored
            .read()
            .ok_or_else(|| MintFault::unread(&answer, "signatures without their outputs"))
    }

    pub(crate) async fn states(&self, ys: &[Y]) -> Result<BTreeMap<Y, CoinState>, MintFault> {
        let states: StatesJson = self.post("/v1/checkstate", &StatesBody::new(ys)).await?;
        Ok(states.read())
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, MintFault> {
        let answer = self.0.get(path).await.map_err(MintFault::of_call)?;
        read(&success(answer)?)
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, MintFault> {
        let answer = self.0.post_json(path, body).await;
        read(&success(answer.map_err(MintFault::of_call)?)?)
    }
}

fn success(answer: Answer) -> Result<Answer, MintFault> {
    if answer.status.is_success() {
        Ok(answer)
    } else {
        Err(MintFault::of_answer(&answer))
    }
}

fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, MintFault> {
    serde_json::from_slice(&answer.body)
        .map_err(|_| MintFault::unread(answer, "a body that cannot be read"))
}
