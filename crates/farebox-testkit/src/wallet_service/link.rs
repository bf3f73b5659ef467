//! The wallet's connection to one relay, made again whenever it ends.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use nostr::{ClientMessage, Filter, JsonUtil, Kind, RelayMessage, SubscriptionId, Timestamp};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::Wallet;

/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) async fn keep(wallet: Arc<Wallet>, relay: String, ready: Sender<()>) {
    let mut ready = Some(ready);
    loop {
        // Relays of tests come and go.
        drop(serve(&wallet, &relay, &mut ready).await);
        tokio::time::sleep(PAUSE).await;
    }
}

async fn serve(
    wallet: &Arc<Wallet>,
    relay: &str,
    ready: &mut Option<Sender<()>>,
) -> Result<(), Error> {
    let mut out = wallet.out.subscribe();
    let address = relay.trim_start_matches("ws://").trim_end_matches('/');
    let tcp = TcpStream::connect(address).await?;
    let (mut socket, _) = tokio_tungstenite::client_async(relay, tcp).await?;
    introduce(wallet, &mut socket).await?;
    loop {
        tokio::select! {
            heard = socket.next() => match heard {
                Some(message) => hear(wallet, &message?, ready),
                None => return Ok(()),
            },
            Ok(event) = out.recv() => {
                let frame = ClientMessage::event(event.as_ref().clone()).as_json();
                socket.send(Message::text(frame)).await?;
            }
        }
    }
}

/// Listens for requests, and then says what the wallet offers.
async fn introduce(wallet: &Wallet, socket: &mut WebSocketStream<TcpStream>) -> Result<(), Error> {
    let requests = Filter::new()
        .kind(Kind::WalletConnectRequest)
        .pubkey(wallet.keys.public_key())
        .since(Timestamp::now());
    let listen = ClientMessage::req(SubscriptionId::new("requests"), vec![requests]);
    socket.send(Message::text(listen.as_json())).await?;
    if let Some(info) = wallet.info() {
        let frame = ClientMessage::event(info).as_json();
        socket.send(Message::text(frame)).await?;
    }
    Ok(())
}

fn hear(wallet: &Arc<Wallet>, message: &Message, ready: &mut Option<Sender<()>>) {
    let Message::Text(text) = message else {
        return;
    };
    match RelayMessage::from_json(text.as_bytes()) {
        Ok(RelayMessage::Event { event, .. }) => {
            tokio::spawn(Arc::clone(wallet).serve(event.into_owned()));
        }
        // Nobody waits for the second time.
        Ok(RelayMessage::EndOfStoredEvents(_)) => {
            if let Some(ready) = ready.take() {
                let _ = ready.send(());
            }
        }
        _ => (),
    }
}
