//! An upgraded connection, WebSocket above all: bytes both ways until one side ends.
//!
//! Paid once, at the upgrade. A tunnel counts as an open connection for the drain and is cut when
//! the drain's limit is reached.

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;

use crate::drain::DrainSignal;

/// Joins both sides in a task of this worker, which keeps `permit` for as long as the tunnel lasts.
pub fn join(
    client: OnUpgrade,
    upstream: OnUpgrade,
    drain: DrainSignal,
    permit: impl Send + 'static,
) {
    let open = drain.enter();
    tokio::spawn(async move {
        let sides = tokio::try_join!(client, upstream);
        if let Ok((client, upstream)) = sides {
            tokio::select! {
                () = copy(client, upstream) => {}
                () = drain.cut() => {}
            }
        }
        drop((open, permit));
    });
}

async fn copy(client: Upgraded, upstream: Upgraded) {
    let mut client = TokioIo::new(client);
    let mut upstream = TokioIo::new(upstream);
    let _ = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
}
