use std::fs;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, Error, NamedGroup, PeerIncompatible, ProtocolVersion,
};

use super::*;
use crate::tls::{TlsError, client_config, expect_role, provider, server_config};

/// Where the handshake must fail, and with what.
#[track_caller]
fn refused_by_server(client: &TlsFiles, server: &TlsFiles) -> Error {
    let (client, server) = (client_config(client).unwrap(), server_config(server).unwrap());
    let (mut client, mut server) = connections(&client, &server, HOST);
    let (at_client, at_server) = shake_hands(&mut client, &mut server);
    assert!(matches!(at_client, Err(Error::AlertReceived(_))), "the client is told: {at_client:?}");
    at_server.unwrap_err()
}

#[track_caller]
fn refused_by_client(client: &TlsFiles, server: &TlsFiles, name: &str) -> Error {
    let (client, server) = (client_config(client).unwrap(), server_config(server).unwrap());
    let (mut client, mut server) = connections(&client, &server, name);
    let (at_client, at_server) = shake_hands(&mut client, &mut server);
    assert!(matches!(at_server, Err(Error::AlertReceived(_))), "the server is told: {at_server:?}");
    at_client.unwrap_err()
}

#[test]
fn keys_are_agreed_on_by_x25519_and_ml_kem_over_tls_1_3() {
    let city = City::new();
    let (client, server) = (client_config(&city.node()).unwrap(), server_config(&city.gateway()).unwrap());
    for name in [HOST, "192.0.2.7"] {
        let (mut client, mut server) = connections(&client, &server, name);
        assert_eq!(shake_hands(&mut client, &mut server), (Ok(()), Ok(())), "{name}");
        assert_eq!(client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        let groups = [client.negotiated_key_exchange_group(), server.negotiated_key_exchange_group()];
        assert_eq!(groups.map(|group| group.unwrap().name()), [NamedGroup::X25519MLKEM768; 2]);
        assert_eq!((client.alpn_protocol(), server.alpn_protocol()), (Some(&b"h2"[..]), Some(&b"h2"[..])));
        assert_eq!(expect_role(client.peer_certificates(), Role::Gateway).unwrap().name, "central");
        assert_eq!(expect_role(server.peer_certificates(), Role::Node).unwrap().name, "cabinet");
    }
}

#[test]
fn no_connection_resumes_an_earlier_one() {
    let city = City::new();
    let (client, server) = (client_config(&city.node()).unwrap(), server_config(&city.gateway()).unwrap());
    for _ in 0..3 {
        let (mut client, mut server) = connections(&client, &server, HOST);
        assert_eq!(shake_hands(&mut client, &mut server), (Ok(()), Ok(())));
        assert_eq!(client.handshake_kind(), Some(rustls::HandshakeKind::Full));
        assert_eq!(client.tls13_tickets_received(), 0);
    }
}

#[test]
fn f_42_a_client_of_tls_1_2_is_refused() {
    let city = City::new();
    let server = server_config(&city.gateway()).unwrap();
    // x25519 and P-256, ECDSA and RSA with SHA-256.
    let usual: &[u8] = &[
        0x00, 0x0a, 0x00, 0x06, 0x00, 0x04, 0x00, 0x1d, 0x00, 0x17, // supported_groups
        0x00, 0x0b, 0x00, 0x02, 0x01, 0x00, // ec_point_formats
        0x00, 0x0d, 0x00, 0x06, 0x00, 0x04, 0x04, 0x03, 0x04, 0x01, // signature_algorithms
    ];
    for (versions, wanted) in [
        // It has never heard of TLS 1.3, or has it switched off.
        (&[][..], PeerIncompatible::SupportedVersionsExtensionRequired),
        (&[0x00, 0x2b, 0x00, 0x03, 0x02, 0x03, 0x03], PeerIncompatible::Tls12NotOfferedOrEnabled),
    ] {
        let extensions = [usual, versions].concat();
        let mut hello = vec![0x03, 0x03];
        hello.extend([7; 32]);
        hello.extend([0, 0, 4, 0xc0, 0x2b, 0xc0, 0x2f, 1, 0, 0, extensions.len() as u8]);
        hello.extend(extensions);
        let mut server = ServerConnection::new(Arc::clone(&server)).unwrap();
        assert_eq!(feed(&record(0x01, &hello), &mut server), Err(Error::PeerIncompatible(wanted)));
    }
}

#[test]
fn f_42_a_server_of_tls_1_2_is_refused() {
    let city = City::new();
    let mut client = ClientConnection::new(client_config(&city.node()).unwrap(), host(HOST)).unwrap();
    client.write_tls(&mut Vec::new()).unwrap();
    let mut hello = vec![0x03, 0x03];
    hello.extend([7; 32]);
    hello.extend([0, 0xc0, 0x2b, 0]);
    assert_eq!(
        feed(&record(0x02, &hello), &mut client),
        Err(Error::PeerIncompatible(PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig))
    );
}

/// One handshake message in one record of version 1.2.
fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = u8::try_from(body.len() + 4).unwrap();
    [&[0x16, 0x03, 0x03, 0, len, kind, 0, 0, len - 4], body].concat()
}

#[test]
fn f_42_a_peer_that_speaks_in_the_clear_is_refused() {
    let city = City::new();
    let mut server = ServerConnection::new(server_config(&city.gateway()).unwrap()).unwrap();
    let refused = feed(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &mut server);
    assert!(matches!(refused, Err(Error::InvalidMessage(_))), "{refused:?}");
    let mut client = ClientConnection::new(client_config(&city.node()).unwrap(), host(HOST)).unwrap();
    let refused = feed(b"HTTP/1.1 200 OK\r\n\r\n", &mut client);
    assert!(matches!(refused, Err(Error::InvalidMessage(_))), "{refused:?}");
}

#[test]
fn f_42_a_certificate_of_an_unknown_authority_is_refused() {
    let (ours, theirs) = (City::new(), City::new());
    // Each side trusts its own city only, and both authorities have the same name.
    let unknown = |error| matches!(error, Error::InvalidCertificate(CertificateError::BadSignature));
    let stranger = TlsFiles { authority: ours.gateway().authority, ..theirs.node() };
    assert!(unknown(refused_by_server(&stranger, &ours.issue(Role::Gateway, "second", VALID))));
    let node = ours.node();
    let gateway = TlsFiles { authority: node.authority.clone(), ..theirs.gateway() };
    assert!(unknown(refused_by_client(&node, &gateway, HOST)));
}

#[test]
fn f_42_an_expired_certificate_loads_and_is_refused_in_the_handshake() {
    let city = City::new();
    let expired = |error| {
        matches!(error, Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })
            if WallTime::from_unix_millis(not_after.as_secs() * 1000) == at(EXPIRED.1))
    };
    let (node, gateway) = (city.node(), city.gateway());
    let (old_node, old_gateway) =
        (city.issue(Role::Node, "old-node", EXPIRED), city.issue(Role::Gateway, "old-gateway", EXPIRED));
    assert!(expired(refused_by_server(&old_node, &gateway)));
    assert!(expired(refused_by_client(&node, &old_gateway, HOST)));
    assert_eq!(crate::tls::expires(&old_node).unwrap(), at(EXPIRED.1));
}

#[test]
fn f_42_a_revoked_certificate_is_refused_by_either_side() {
    let city = City::new();
    let (node, stolen) = (city.node(), city.issue(Role::Node, "stolen", VALID));
    let (gateway, former) = (city.gateway(), city.issue(Role::Gateway, "former", VALID));
    city.revoke(&stolen);
    let revoked = Some(city.revoke(&former));
    let [node, gateway] = [node, gateway].map(|files| TlsFiles { revoked: revoked.clone(), ..files });
    let is_revoked = |error| error == Error::InvalidCertificate(CertificateError::Revoked);
    assert!(is_revoked(refused_by_server(&stolen, &gateway)));
    assert!(is_revoked(refused_by_client(&node, &former, HOST)));
    let (mut client, mut server) =
        connections(&client_config(&node).unwrap(), &server_config(&gateway).unwrap(), HOST);
    assert_eq!(shake_hands(&mut client, &mut server), (Ok(()), Ok(())), "others come in as before");
}

#[test]
fn f_42_where_authorities_change_both_are_trusted_for_a_while() {
    let (old, new) = (City::new(), City::new());
    let (node, gateway) = (old.node(), new.gateway());
    let both = old.path("both.pem");
    let texts = [old.authority.certificate_pem(), new.authority.certificate_pem()].concat();
    fs::write(&both, texts).unwrap();
    let [node, gateway] = [node, gateway].map(|files| TlsFiles { authority: both.clone(), ..files });
    let (mut client, mut server) =
        connections(&client_config(&node).unwrap(), &server_config(&gateway).unwrap(), HOST);
    assert_eq!(shake_hands(&mut client, &mut server), (Ok(()), Ok(())));

    // These two have the same name, so that the new one's list is asked about the old one's certificates as well,
    // and has the wrong signature for them.
    let revoked = Some(new.revoke(&new.issue(Role::Node, "lost", VALID)));
    let error = refused_by_server(&node, &TlsFiles { revoked, ..gateway });
    assert!(matches!(error, Error::InvalidCertRevocationList(_)), "{error:?}");
}

#[test]
fn f_42_a_server_with_the_wrong_name_is_refused() {
    let city = City::new();
    let error = refused_by_client(&city.node(), &city.gateway(), "other.city.example");
    assert!(
        matches!(error, Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. })),
        "{error:?}"
    );
    let error = refused_by_client(
        &city.issue(Role::Node, "second", VALID),
        &city.issue(Role::Gateway, "spare", VALID),
        "192.0.2.8",
    );
    assert!(
        matches!(error, Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. })),
        "{error:?}"
    );
}

#[test]
fn f_42_a_client_without_a_certificate_is_refused() {
    let city = City::new();
    let server = server_config(&city.gateway()).unwrap();
    let roots = crate::tls::load::authorities(&city.path("central/authority.pem")).unwrap();
    let client = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (mut client, mut server) = connections(&Arc::new(client), &server, HOST);
    let (at_client, at_server) = shake_hands(&mut client, &mut server);
    assert_eq!(at_server, Err(Error::NoCertificatesPresented));
    assert_eq!(at_client, Err(Error::AlertReceived(AlertDescription::CertificateRequired)));
}

/// A node's certificate is for clients only and has no host name; should an authority be lax about both, the role
/// is still not the gateway's.
#[test]
fn a_stolen_certificate_of_a_node_does_not_pose_as_the_gateway() {
    let city = City::new();
    let node = city.node();
    assert!(matches!(server_config(&node), Err(TlsError::Role { found: Role::Node, .. })));
    assert!(matches!(client_config(&city.gateway()), Err(TlsError::Role { found: Role::Gateway, .. })));
    let stolen = crate::tls::load::own(&node, &provider(), &[Role::Node]).unwrap();
    let error = expect_role(Some(&stolen.cert), Role::Gateway).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the peer's certificate is that of the node cabinet; that of a gateway is expected"
    );
    let roots = crate::tls::load::authorities(&node.authority).unwrap();
    let nobody = rustls::server::WebPkiClientVerifier::builder_with_provider(roots, provider()).build().unwrap();
    let server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(nobody as Arc<dyn ClientCertVerifier>)
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(stolen)));
    let client = client_config(&city.issue(Role::Node, "honest", VALID)).unwrap();
    let (mut client, mut server) = connections(&client, &Arc::new(server), HOST);
    let (at_client, _) = shake_hands(&mut client, &mut server);
    assert!(matches!(at_client, Err(Error::InvalidCertificate(_))), "{at_client:?}");
    assert!(matches!(
        expect_role(None::<&[CertificateDer<'_>]>, Role::Gateway),
        Err(TlsError::NoPeerCertificate(_))
    ));
}
