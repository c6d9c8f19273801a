//! Certificates from files: what is refused, and in which words.

use std::{fs, io::ErrorKind, path::PathBuf};

use thence_reactor::net::tls::{Certificates, Roots, TlsClient, TlsServer};

use crate::common::ca::Ca;

/// A folder of the test's own.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("thence-tls-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn an_error_names_the_file_and_what_it_has() {
    let folder = Folder::new("names");
    let ca = Ca::new("test");
    let (pair, other) = (ca.issue("a.example"), ca.issue("b.example"));
    let (chain, key) = (folder.put("a.pem", &pair.chain), folder.put("a.key", &pair.key));
    let refused = |chain: &PathBuf, key: &PathBuf| {
        let error = Certificates::from_files(chain, key).unwrap_err();
        (error.kind(), error.to_string())
    };

    let missing = folder.0.join("none.pem");
    let (kind, text) = refused(&missing, &key);
    assert_eq!(kind, ErrorKind::NotFound);
    assert!(text.starts_with(&format!("cannot read `{}`: ", missing.display())), "{text}");

    let (kind, text) = refused(&key, &chain);
    assert_eq!(kind, ErrorKind::InvalidData);
    assert!(text.starts_with(&format!("`{}` has no certificate", key.display())), "{text}");
    assert!(text.ends_with("found PRIVATE KEY"), "{text}");

    let (_, text) = refused(&chain, &chain);
    assert!(text.starts_with(&format!("`{}` has no private key", chain.display())), "{text}");
    assert!(text.ends_with("found CERTIFICATE"), "{text}");

    let stranger = folder.put("b.key", &other.key);
    let (_, text) = refused(&chain, &stranger);
    let expected = format!(
        "the private key in `{}` does not belong to the certificate in `{}`",
        stranger.display(),
        chain.display()
    );
    assert!(text.starts_with(&expected), "{text}");

    // The chain the wrong way round, which is the usual mistake.
    let reversed = folder.put("reversed.pem", format!("{}{}", ca.pem, pair.chain));
    let (_, text) = refused(&reversed, &key);
    assert!(text.ends_with("which has to be the server's own"), "{text}");

    let both = folder.put("both.pem", format!("{}{}{}", pair.chain, ca.pem, pair.key));
    assert!(Certificates::from_files(&both, &both).is_ok());
}

#[test]
fn a_reload_that_fails_says_why_and_one_that_is_right_succeeds() {
    let folder = Folder::new("reload");
    let ca = Ca::new("test");
    let (old, new) = (ca.issue("a.example"), ca.issue("a.example"));
    let (chain, key) = (folder.put("a.pem", &old.chain), folder.put("a.key", &old.key));
    let certificates = Certificates::from_files(&chain, &key).unwrap();
    certificates.reload().unwrap();
    // The certificate is there before its key.
    folder.put("a.pem", &new.chain);
    let text = certificates.reload().unwrap_err().to_string();
    assert!(text.contains("does not belong to the certificate"), "{text}");
    folder.put("a.key", &new.key);
    certificates.reload().unwrap();
    fs::remove_file(&key).unwrap();
    assert_eq!(certificates.reload().unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn certificates_that_were_no_files_cannot_be_read_again() {
    let pair = Ca::new("test").issue("a.example");
    let certificates = Certificates::from_pem(&pair.chain, &pair.key).unwrap();
    let error = certificates.reload().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().ends_with("give the new ones to `replace`"), "{error}");
}

#[test]
fn roots_without_a_certificate_are_refused() {
    let folder = Folder::new("roots");
    let ca = Ca::new("test");
    let empty = folder.put("empty.pem", "");
    let text = Roots::from_file(&empty).unwrap_err().to_string();
    assert!(text.starts_with(&format!("`{}` has no certificate", empty.display())), "{text}");
    assert!(text.ends_with("found nothing, it is empty"), "{text}");
    let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let text = Roots::from_pem(format!("{}{damaged}", ca.pem)).unwrap_err().to_string();
    assert!(text.starts_with("certificate 2 in the PEM of the trusted roots is damaged"), "{text}");
}

#[test]
fn the_system_s_roots_are_found_or_their_absence_is_told() {
    match Roots::system() {
        Ok(roots) => assert!(!format!("{roots:?}").contains("certificates: 0"), "{roots:?}"),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert!(error.to_string().contains("SSL_CERT_FILE"), "{error}");
        }
    }
}

#[test]
fn what_is_configured_crosses_threads() {
    fn crosses<T: Send + Sync + Clone>() {}
    crosses::<Certificates>();
    crosses::<Roots>();
    crosses::<TlsClient>();
    crosses::<TlsServer>();
}

#[test]
fn a_server_prints_what_it_was_told() {
    let pair = Ca::new("test").issue("a.example");
    let certificates = Certificates::from_pem(&pair.chain, &pair.key).unwrap();
    let printed = format!("{:?}", TlsServer::new(&certificates).alpn(["h2"]));
    assert_eq!(
        printed,
        "TlsServer { certificates: Certificates { .. }, settings: Settings { alpn: \"h2\", only: \
         None }, .. }"
    );
}
