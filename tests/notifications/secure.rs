//! Webhooks with https: a certificate that the system trusts is needed, and enough.

use super::{
    QUICK, SECRET,
    process::{House, Server, TONE, until},
    receiver::Receiver,
};
use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivateKeyDer};
use std::{fs, sync::Arc};

/// A receiver with https, and its certificate as a file has it.
fn receiver() -> (Receiver, String) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let certificate = made.cert.pem();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let receiver = Receiver::over(move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).ok()?;
        Some(StreamOwned::new(connection, stream))
    });
    (receiver, certificate)
}

#[test]
fn https_needs_a_certificate_that_the_system_trusts() {
    let (receiver, certificate) = receiver();
    let (_, other) = self::receiver();
    let house = House::with("tone", TONE);
    let house = house.set(
        "notifications",
        &format!(
            "{QUICK}[[notifications.webhooks]]\nname = \"on-call\"\nurl = \"https://{}/hook\"\nsecret = \"{SECRET}\"\n",
            receiver.address
        ),
    );
    let start = |trusted: &str| {
        let file = house.path("trusted.pem");
        fs::write(&file, trusted).unwrap();
        let mut command = house.command(&["serve"]);
        command.env("SSL_CERT_FILE", file).env_remove("SSL_CERT_DIR");
        Server::spawn(command)
    };
    let server = start(&other).unwrap();
    server.logged(&["on-call", "cannot be reached", "certificate"]);
    assert!(receiver.got().is_empty());
    server.kill();
    let server = start(&certificate).unwrap();
    let got = until("a message", || receiver.taken().into_iter().next());
    assert_eq!((got.path.as_str(), got.event()), ("/hook", "started"));
    got.signed_at(SECRET);
    server.kill();
    // With nothing to judge by, it is said at once.
    let refused = start("").err().unwrap();
    let told = "the certificates of this system, for endpoints with https: ";
    assert!(refused.errors.contains(told), "{refused:?}");
}
