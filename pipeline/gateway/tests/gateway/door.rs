//! Who is not let in, or speaks no TLS, is told apart by reason.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::common::*;
use crate::hostile::Neighbour;

#[tokio::test(flavor = "multi_thread")]
async fn f_42_who_has_no_valid_certificate_is_told_apart_by_reason() {
    let mut city = City::new();
    let revoked = city.issue(Role::Node, "revoked-one");
    let list = city.authority.revoke(std::slice::from_ref(&revoked.certificate), now()).unwrap();
    city.settings.tls.revoked = Some(list.path);
    let gateway = city.start().await;
    let neighbour = Neighbour::start(&city, &gateway);
    let address = gateway.address();

    let expired = city.issue_until(Role::Node, "expired-one", now() - MINUTE);
    assert!(refused_at_the_door(address, &expired).await);
    eventually("expired", || shaken_off(&gateway, "expired") > 0.0).await;

    assert!(refused_at_the_door(address, &revoked).await);
    eventually("revoked", || shaken_off(&gateway, "revoked") > 0.0).await;

    let elsewhere = City::new();
    let mut foreign = elsewhere.issue(Role::Node, "hostile");
    foreign.authority.clone_from(&city.settings.tls.authority);
    assert!(refused_at_the_door(address, &foreign).await);
    eventually("unknown authority", || shaken_off(&gateway, "unknown_authority") > 0.0).await;

    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut rest = Vec::new();
    let closed = plain.read_to_end(&mut rest).await;
    assert!(closed.is_err() || rest.is_empty(), "nothing is answered: {rest:?}");
    eventually("plaintext", || shaken_off(&gateway, "plaintext") == 1.0).await;

    let mut old = TcpStream::connect(address).await.unwrap();
    old.write_all(&client_hello_of_tls_1_2()).await.unwrap();
    let mut rest = Vec::new();
    let _ = old.read_to_end(&mut rest).await;
    eventually("TLS 1.2", || shaken_off(&gateway, "tls_version") == 1.0).await;

    neighbour.undisturbed(&city).await;
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_takes_nobodys_turn() {
    let city = City::new();
    let gateway = city.start().await;
    let mut silent = Vec::new();
    // More than may shake hands at a time.
    for _ in 0..100 {
        silent.push(TcpStream::connect(gateway.address()).await.unwrap());
    }
    let batches = Cabinet::new("cabinet", 7).agg(1);
    deliver(gateway.address(), &city.issue(Role::Node, "cabinet"), 0, &batches).await;
    assert_eq!(shaken_off(&gateway, "too_slow"), 0.0, "it had its turn before they were given up");
    gateway.stop().await.unwrap();
}

/// Whether a connection fails at once or at its first call: with TLS 1.3 a client hears of it after its own handshake.
async fn refused_at_the_door(address: std::net::SocketAddr, files: &TlsFiles) -> bool {
    match connect(address, files).await {
        Err(_) => true,
        Ok(mut client) => resume(&mut client, 0, Vec::new()).await.is_err(),
    }
}

/// A client hello that knows nothing newer than TLS 1.2.
fn client_hello_of_tls_1_2() -> Vec<u8> {
    let mut hello = vec![3, 3];
    hello.extend_from_slice(&[7; 32]);
    // No session; two suites; no compression.
    hello.extend_from_slice(&[0, 0, 4, 0xc0, 0x2f, 0xc0, 0x2b, 1, 0]);
    // Groups, formats of points, algorithms of signatures.
    let extensions = [0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0, 0, 13, 0, 6, 0, 4, 4, 3, 8, 4];
    hello.extend_from_slice(&(extensions.len() as u16).to_be_bytes());
    hello.extend_from_slice(&extensions);
    let mut record = vec![1, 0];
    record.extend_from_slice(&(hello.len() as u16).to_be_bytes());
    record.extend_from_slice(&hello);
    let mut bytes = vec![22, 3, 1];
    bytes.extend_from_slice(&(record.len() as u16).to_be_bytes());
    bytes.extend_from_slice(&record);
    bytes
}
