//! One connection to the gateway: TCP, TLS, HTTP/2, with every step under a deadline and every byte counted.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use arrow_flight::flight_service_client::FlightServiceClient;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use super::UplinkError;
use super::status::UplinkStatus;
use crate::tls::{Role, expect_role};
use crate::wire::MAX_MESSAGE_BYTES;

/// For the name's address and the TCP connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// For the handshake: over 64 kbit/s with three seconds of delay it takes about ten.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(30);
/// How often a silent connection is asked whether it lives, and how long the answer may take. A half-open one
/// is noticed within their sum.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(20));

/// Connects to the gateway and makes sure that it is one.
pub(super) async fn connect(
    host: &str,
    port: u16,
    tls: Arc<ClientConfig>,
    status: &Arc<UplinkStatus>,
) -> Result<FlightServiceClient<Channel>, UplinkError> {
    let stream = dial(host, port, tls, status).await?;
    let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let uri: Uri = format!("https://{authority}")
        .parse()
        .map_err(|_| UplinkError::Address { host: host.to_owned(), port })?;
    let mut stream = Some(stream);
    // The channel is given this one connection and no way to make another: what comes after its loss is our decision.
    let once = service_fn(move |_: Uri| {
        let stream = stream.take().map(TokioIo::new);
        async move { stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)) }
    });
    let channel = Endpoint::from(uri)
        .http2_keep_alive_interval(KEEP_ALIVE.0)
        .keep_alive_timeout(KEEP_ALIVE.1)
        .keep_alive_while_idle(true)
        .connect_with_connector(once)
        .await
        .map_err(UplinkError::Http)?;
    Ok(FlightServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES))
}

async fn dial(
    host: &str,
    port: u16,
    tls: Arc<ClientConfig>,
    status: &Arc<UplinkStatus>,
) -> Result<TlsStream<Metered>, UplinkError> {
    let address = || UplinkError::Address { host: host.to_owned(), port };
    let name = ServerName::try_from(host.to_owned()).map_err(|_| address())?;
    let failed = |source| UplinkError::Connect { host: host.to_owned(), port, source };
    let late = || failed(io::ErrorKind::TimedOut.into());
    let tcp =
        timeout(CONNECT_LIMIT, TcpStream::connect((host, port))).await.map_err(|_| late())?.map_err(failed)?;
    tcp.set_nodelay(true).map_err(failed)?;
    let metered = Metered { stream: tcp, status: Arc::clone(status) };
    let handshake = TlsConnector::from(tls).connect(name, metered);
    let refused = |source| UplinkError::Handshake { host: host.to_owned(), port, source };
    let stream = timeout(HANDSHAKE_LIMIT, handshake)
        .await
        .map_err(|_| refused(io::ErrorKind::TimedOut.into()))?
        .map_err(refused)?;
    expect_role(stream.get_ref().1.peer_certificates(), Role::Gateway)?;
    Ok(stream)
}

/// A TCP stream that counts what goes through it.
pub(super) struct Metered {
    stream: TcpStream,
    status: Arc<UplinkStatus>,
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        self.status.received(buffer.filled().len().saturating_sub(before));
        Poll::Ready(result)
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        if let Ok(count) = &result {
            self.status.sent(*count);
        }
        Poll::Ready(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
