//! A TCP connection that notices when the other end is gone.

use std::{io, net::SocketAddr, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// A peer that says nothing for this long is asked, this often, so many times,
/// and then is gone: after a minute, and not after the system's two hours.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(30))
    .with_interval(Duration::from_secs(10))
    .with_retries(3);
/// As long may pass before a peer acknowledges what it was sent.
#[cfg(target_os = "linux")]
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(60);

/// Connects to the first address that answers; the error is the last one's.
///
/// A single one may take `limit`. Several have half of it together, so that one
/// that is silent leaves time for the next and for a login.
pub(super) async fn connect(addresses: &[SocketAddr], limit: Duration) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    let share = match addresses.len() {
        1 => limit,
        count => limit / 2 / u32::try_from(count).unwrap_or(u32::MAX).max(1),
    };
    for &address in addresses {
        match connect_to(address, share).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// A machine may have no socket at all for an address, without IPv6 for example.
async fn connect_to(address: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    keep_alive(&socket)?;
    socket.set_nodelay(true)?;
    timeout(limit, socket.connect(address)).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()))
}

fn keep_alive(socket: &TcpSocket) -> io::Result<()> {
    let socket = SockRef::from(socket);
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(ACKNOWLEDGED_WITHIN))?;
    socket.set_tcp_keepalive(&KEEPALIVE)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(4);

    /// A listener at which no further connection gets through, as far as the
    /// system lets one make it.
    async fn silent() -> (TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = timeout(LIMIT / 20, TcpStream::connect(address)).await {
            waiting.push(stream.unwrap());
        }
        (listener, waiting)
    }

    #[tokio::test]
    async fn a_silent_address_leaves_time_for_the_next() {
        let (silent, _waiting) = silent().await;
        let answers = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addresses = [&silent, &answers].map(|each| each.local_addr().unwrap());
        let stream =
            timeout(LIMIT / 2, connect(&addresses, LIMIT)).await.expect("in time").unwrap();
        assert_eq!(stream.peer_addr().unwrap(), addresses[1]);
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(30));
        assert_eq!(connect(&[], LIMIT).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
