//! One request against publishers of all kinds.

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::Instant,
};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::{
    auth::{
        fixtures::{CERTIFICATE, CERTIFICATE_KEY, JWKS},
        publisher::{Publisher, ok},
    },
    runtime,
};

async fn fetch(answer: impl Into<Vec<u8>>) -> Result<Jwks, FetchError> {
    let publisher = Publisher::start(answer).await;
    Address::new(&publisher.url, true).unwrap().fetch().await
}

#[test]
fn addresses_are_checked() {
    let error = |url| check(url, false).err();
    assert_eq!(error("https://auth.test/.well-known/jwks.json"), None);
    for url in ["", "auth.test", "/jwks.json", "https://", "http://[::1"] {
        assert_eq!(error(url), Some(AddressError::NotAUrl), "{url}");
    }
    for url in ["http://127.0.0.1/", "ftp://a.test/", "file:///etc/passwd", "data:,{}"] {
        assert_eq!(error(url), Some(AddressError::Scheme), "{url}");
    }
    assert_eq!(error("https://user@a.test/"), Some(AddressError::Credentials));
    assert!(check("http://127.0.0.1/", true).is_ok());
}

#[test]
fn plain_http_is_for_the_inside() {
    let inside = |text: &str| is_inside(text.parse().unwrap());
    for address in ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "::1", "fd00::1"] {
        assert!(inside(address), "{address}");
    }
    for address in ["8.8.8.8", "169.254.169.254", "::ffff:169.254.169.254", "0.0.0.0", "fe80::1"] {
        assert!(!inside(address), "{address}");
    }
    assert!(inside("::ffff:127.0.0.1"));
}

#[tokio::test]
async fn a_set_is_fetched() {
    let publisher = Publisher::start(ok(JWKS)).await;
    let address = Address::new(&publisher.url, true).unwrap();
    assert_eq!(address.fetch().await.unwrap().len(), 5);
    let request = publisher.last();
    assert!(request.starts_with("GET /jwks.json?a=b HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("host: {}\r\n", address.host())), "{request}");
}

#[tokio::test]
async fn a_set_without_a_length_is_fetched() {
    let answer = format!("HTTP/1.1 200 OK\r\n\r\n{JWKS}");
    assert_eq!(fetch(answer).await.unwrap().len(), 5);
}

#[tokio::test]
async fn what_is_no_set_is_refused() {
    let not_a_set = FetchError::NotASet(JwksError::NotASet).to_string();
    assert_eq!(fetch(ok("<html>")).await.unwrap_err().to_string(), not_a_set);
    let short = fetch("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{").await;
    assert!(matches!(short, Err(FetchError::Http(_))), "{short:?}");
    let other = fetch("SSH-2.0-x\r\n").await;
    assert!(matches!(other, Err(FetchError::Http(_))), "{other:?}");
    let missing = fetch("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
    assert!(matches!(missing, Err(FetchError::Status(StatusCode::NOT_FOUND))), "{missing:?}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Publisher::start(ok(JWKS)).await;
    let location = &elsewhere.url;
    let answer = format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
    let outcome = fetch(answer).await;
    assert!(matches!(outcome, Err(FetchError::Status(StatusCode::FOUND))), "{outcome:?}");
    assert_eq!(elsewhere.requests(), 0);
}

#[tokio::test]
async fn ten_megabytes_are_too_long() {
    let announced = ok(&" ".repeat(10 << 20));
    assert!(matches!(fetch(announced).await, Err(FetchError::TooLong)));
    let unannounced = format!("HTTP/1.1 200 OK\r\n\r\n{}", " ".repeat(10 << 20));
    assert!(matches!(fetch(unannounced).await, Err(FetchError::TooLong)));
    let head = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(10 << 20));
    assert!(matches!(fetch(head).await, Err(FetchError::Http(_))));
}

#[tokio::test]
async fn silence_ends_in_time() {
    let publisher = Publisher::start("").await;
    let address = Address::new(&publisher.url, true).unwrap();
    let started = Instant::now();
    assert!(matches!(address.fetch().await, Err(FetchError::Timeout)));
    assert!(started.elapsed() < LIMIT * 2);
}

#[tokio::test]
async fn nobody_there_is_told() {
    let outcome = Address::new("http://127.0.0.1:1/", true).unwrap().fetch().await;
    assert!(matches!(outcome, Err(FetchError::Unreachable(_))), "{outcome:?}");
    let outcome = Address::new("http://192.0.2.1/", true).unwrap().fetch().await;
    assert!(matches!(outcome, Err(FetchError::NotPrivate)), "{outcome:?}");
}

/// Serves one key set over TLS and returns its port.
async fn secure() -> u16 {
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE).unwrap();
    let key = PrivateKeyDer::from_pem_slice(CERTIFICATE_KEY).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    runtime::spawn("secure", async move {
        let (stream, _) = listener.accept().await.unwrap();
        if let Ok(mut stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(&ok(JWKS)).await;
            let _ = stream.shutdown().await;
        }
    });
    port
}

#[tokio::test]
async fn certificates_are_verified() {
    let trusted = || {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(CERTIFICATE).unwrap()).unwrap();
        roots
    };
    let fetch = async |host: &str, roots| {
        let url = format!("https://{host}:{}/jwks.json", secure().await);
        Address::trusting(&url, false, roots).unwrap().fetch().await
    };
    assert_eq!(fetch("localhost", trusted()).await.unwrap().len(), 5);
    let stranger = fetch("localhost", RootCertStore::empty()).await;
    assert!(matches!(stranger, Err(FetchError::Tls(_))), "{stranger:?}");
    let other_name = fetch("127.0.0.1", trusted()).await;
    assert!(matches!(other_name, Err(FetchError::Tls(_))), "{other_name:?}");
}
