use std::fs;

use super::*;
use crate::tls::{Reloading, TlsError, client_config, server_config};

/// Puts one certificate's files in the place of another's, as a renewal does.
fn replace(old: &TlsFiles, new: &TlsFiles) {
    fs::rename(&new.certificate, &old.certificate).unwrap();
    fs::rename(&new.key, &old.key).unwrap();
}

#[test]
fn renewed_files_are_taken_up_once() {
    let city = City::new();
    let files = city.node();
    let mut config = Reloading::new(files.clone(), client_config).unwrap();
    let first = Arc::clone(config.current());
    assert!(!config.look().unwrap());
    replace(&files, &city.issue(Role::Node, "renewed", VALID));
    assert!(config.look().unwrap());
    assert!(!Arc::ptr_eq(&first, config.current()));
    assert!(!config.look().unwrap());
}

#[test]
fn f_42_the_old_certificate_serves_while_the_new_files_cannot_be_used() {
    let city = City::new();
    let files = city.node();
    let mut config = Reloading::new(files.clone(), client_config).unwrap();
    let first = Arc::clone(config.current());
    let renewed = city.issue(Role::Node, "renewed", VALID);

    // A look between the two renames.
    fs::rename(&renewed.certificate, &files.certificate).unwrap();
    assert!(matches!(config.look(), Err(TlsError::KeyMismatch { .. })));
    assert!(Arc::ptr_eq(&first, config.current()));
    assert!(!config.look().unwrap(), "it is said once");
    fs::rename(&renewed.key, &files.key).unwrap();
    assert!(config.look().unwrap());

    fs::remove_file(&files.authority).unwrap();
    assert!(matches!(config.look(), Err(TlsError::Missing { .. })));
    assert!(!config.look().unwrap(), "it is said once");
    fs::write(&files.authority, city.authority.certificate_pem()).unwrap();
    assert!(config.look().unwrap());

    // Neither content nor time of the key changes with its mode.
    set_mode(&files.key, 0o644);
    assert!(matches!(config.look(), Err(TlsError::Exposed { .. })));
    set_mode(&files.key, 0o600);
    assert!(config.look().unwrap());
}

#[test]
fn f_42_a_list_that_was_replaced_closes_the_door() {
    let city = City::new();
    let (node, lost) = (city.node(), city.issue(Role::Node, "lost", VALID));
    let gateway =
        TlsFiles { revoked: Some(city.revoke(&city.issue(Role::Node, "first", VALID))), ..city.gateway() };
    let mut config = Reloading::new(gateway, server_config).unwrap();
    let comes_in = |files: &TlsFiles, server: &Arc<ServerConfig>| {
        let (mut client, mut server) = connections(&client_config(files).unwrap(), server, HOST);
        shake_hands(&mut client, &mut server).1.is_ok()
    };
    assert!(comes_in(&lost, config.current()));
    city.revoke(&lost);
    assert!(config.look().unwrap());
    assert!(!comes_in(&lost, config.current()));
    assert!(comes_in(&node, config.current()));
}
