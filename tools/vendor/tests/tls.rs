//! The way over TLS: a server with a certificate of an authority that is trusted, and of one that is not.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::path::PathBuf;
use std::sync::Arc;

use common::{Plan, Reader, Vendor};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/authority.pem");

fn server() -> Arc<ServerConfig> {
    let file = |name: &str| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    let chain: Vec<_> = CertificateDer::pem_file_iter(file("server.pem")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(file("server.key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap())
}

#[test]
fn a_trusted_server_is_heard() {
    let (vendor, mut reader) = (Vendor::new(), Reader::new());
    let run = Plan { kind: "massive", authorities: Some(AUTHORITY), ..Plan::alpaca(&vendor, &reader) }.start();
    let mut client = vendor.try_accept(Some(&server())).unwrap();
    client.say(r#"[{"ev":"status","status":"connected"}]"#);
    assert_eq!(client.hear(), r#"{"action":"auth","params":"K-1"}"#);
    client.say(r#"[{"ev":"status","status":"auth_success"}]"#);
    client.hear();
    client.say(r#"[{"ev":"Q","sym":"ALFA","bp":4.05,"bs":100,"ap":4.07,"as":200}]"#);
    reader.await_top(0, [Some((40_500, 100)), Some((40_700, 200))]);
    drop(client);
    reader.await_top(0, [None, None]);
    let (summary, out) = run.stop();
    assert_eq!(summary.unwrap().session.malformed_count, 0, "{out}");
}

#[test]
fn a_server_of_nobody_is_told_nothing() {
    let (vendor, reader) = (Vendor::new(), Reader::new());
    let run = Plan { kind: "massive", authorities: Some(""), ..Plan::alpaca(&vendor, &reader) }.start();
    let refused = vendor.try_accept(Some(&server())).err().unwrap();
    assert!(refused.contains("UnknownCA") || refused.contains("alert"), "{refused}");
    drop(vendor);
    let (summary, out) = run.stop();
    let summary = summary.unwrap();
    assert!(summary.connection_count == 0 && out.contains("certificate"), "{summary}\n{out}");
}
