//! A TCP relay with an address of its own: what stands behind it may come, go and hang.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What becomes of bytes that come to the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the server there, and back.
    To(SocketAddr),
    /// Every connection is closed.
    Closed,
    /// Nothing comes back, and nothing is closed.
    Nowhere,
}

/// Relays connections until it is dropped.
pub struct Relay {
    pub address: SocketAddr,
    state: Arc<State>,
    job: JoinHandle<()>,
}

struct State {
    way: Mutex<Way>,
    /// Jobs of connections that are open.
    open: Mutex<Vec<JoinHandle<()>>>,
    /// What went to the server, if anybody asked for it.
    heard: Mutex<Option<Vec<u8>>>,
}

impl Relay {
    /// A relay that closes everything until it is told where to go.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let way = Mutex::new(Way::Closed);
        let state = Arc::new(State { way, open: Mutex::default(), heard: Mutex::default() });
        let job = tokio::spawn(accept(listener, Arc::clone(&state)));
        Self { address, state, job }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where new connections go from now on; those that are open stay as they are.
    pub fn set(&self, way: Way) {
        *self.state.way.lock().unwrap() = way;
    }

    /// Breaks off every connection.
    pub fn cut(&self) {
        for job in self.state.open.lock().unwrap().drain(..) {
            job.abort();
        }
    }

    /// Keeps what goes to the server from now on.
    pub fn listen_in(&self) {
        *self.state.heard.lock().unwrap() = Some(Vec::new());
    }

    /// What went to the server since, as text.
    pub fn heard(&self) -> String {
        let heard = self.state.heard.lock().unwrap().take().unwrap_or_default();
        String::from_utf8_lossy(&heard).into_owned()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.job.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((client, _)) = listener.accept().await {
        let way = *state.way.lock().unwrap();
        let job = match way {
            Way::Closed => continue,
            Way::Nowhere => tokio::spawn(async move {
                let _kept = client;
                std::future::pending().await
            }),
            Way::To(address) => tokio::spawn(relay(client, address, Arc::clone(&state))),
        };
        let mut open = state.open.lock().unwrap();
        open.retain(|job| !job.is_finished());
        open.push(job);
    }
}

async fn relay(mut client: TcpStream, address: SocketAddr, state: Arc<State>) {
    let Ok(mut server) = TcpStream::connect(address).await else { return };
    let listens = state.heard.lock().unwrap().is_some();
    if !listens {
        // Either end may break off.
        let _ = copy_bidirectional(&mut client, &mut server).await;
        return;
    }
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let there = async {
        let mut buffer = [0; 8192];
        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
            if let Some(heard) = &mut *state.heard.lock().unwrap() {
                heard.extend_from_slice(&buffer[..read]);
            }
            if to_server.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = there => {}
        _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
    }
}
