//! Connections: accepting, the two protocol versions, and stopping without cutting anybody off.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use metrics::Gauge;
use tokio::net::TcpListener;

use super::Server;
use super::origin::Connection;

/// Longest time that a client takes for the head of a request, the first one of a connection included.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// Counts a connection for as long as it lives, however it ends.
struct OpenConnection(Gauge);

impl OpenConnection {
    fn new(gauge: &Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// Serves until `stop` resolves, then lets requests under way finish for at most `drain`.
pub async fn serve(
    server: Arc<Server>,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
    drain: Duration,
) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Duration::from_secs(60));
    let graceful = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, mostly: those that are open have to end first.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection was gone before it was set up");
        }
        let (served, arrived) = (Arc::clone(&server), Arc::new(AtomicBool::new(false)));
        let seen = Arc::clone(&arrived);
        let peer = Arc::new(Connection::new(Some(peer.ip())));
        let service = service_fn(move |request: Request<Incoming>| {
            seen.store(true, Ordering::Relaxed);
            let (server, peer) = (Arc::clone(&served), Arc::clone(&peer));
            async move { Ok::<_, std::convert::Infallible>(server.answer(request, &peer).await) }
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = graceful.watch(connection);
        let open = OpenConnection::new(&server.telemetry.connections);
        tokio::spawn(async move {
            let _open = open;
            let mut connection = pin!(connection);
            // hyper's own limit begins when the version of the protocol is known, which may be never.
            let first = tokio::time::timeout(HEADER_TIMEOUT, &mut connection).await;
            let ended = match first {
                Ok(ended) => ended,
                Err(_) if arrived.load(Ordering::Relaxed) => connection.await,
                Err(_) => return,
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    server.stopping.store(true, Ordering::Relaxed);
    drop(listener);
    tracing::info!(connections = graceful.count(), "stopping: no new connections");
    if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not finish in time and are cut off");
    }
}
