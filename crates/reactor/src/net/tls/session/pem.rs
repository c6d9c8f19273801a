//! Certificates and keys from PEM, and what to say when there are none.

use std::io;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

/// All certificates of `pem`, at least one. `name` is what an error calls it.
pub(super) fn certificates(name: &str, pem: &[u8]) -> io::Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(invalid(format!(
            "{name} has no certificate: expected PEM with `-----BEGIN CERTIFICATE-----`, found {}",
            found(pem)
        ))),
        Err(error) => Err(invalid(format!("{name} is damaged PEM: {error}"))),
    }
}

/// The first private key of `pem`. `name` is what an error calls it.
pub(super) fn private_key(name: &str, pem: &[u8]) -> io::Result<PrivateKeyDer<'static>> {
    if is_encrypted(pem) {
        return Err(invalid(format!(
            "the private key in {name} is encrypted: expected one without a pass phrase \
             (`openssl pkey -in KEY -out PLAIN` writes it)"
        )));
    }
    match PrivateKeyDer::pem_slice_iter(pem).next() {
        Some(Ok(key)) => Ok(key),
        Some(Err(error)) => Err(invalid(format!("{name} is damaged PEM: {error}"))),
        None => Err(invalid(format!(
            "{name} has no private key: expected PEM with `-----BEGIN PRIVATE KEY-----` (or RSA, \
             or EC), found {}",
            found(pem)
        ))),
    }
}

pub(super) fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn is_encrypted(pem: &[u8]) -> bool {
    let text = String::from_utf8_lossy(pem);
    text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
        || text.lines().any(|line| line.starts_with("Proc-Type:") && line.contains("ENCRYPTED"))
}

/// What there is instead, in words.
fn found(pem: &[u8]) -> String {
    if pem.is_empty() {
        return "nothing, it is empty".into();
    }
    let text = String::from_utf8_lossy(pem);
    let labels: Vec<_> = text.lines().filter_map(label).collect();
    match (labels.is_empty(), pem.starts_with(DER_SEQUENCE)) {
        (false, _) => labels.join(", "),
        (true, true) => "DER (`openssl x509 -inform der` or `openssl pkey -inform der` turns it \
                         into PEM)"
            .into(),
        (true, false) => "no PEM at all".into(),
    }
}

fn label(line: &str) -> Option<&str> {
    line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----")
}

/// How a certificate or a key of more than 255 bytes begins in DER.
const DER_SEQUENCE: &[u8] = &[0x30, 0x82];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_found_where_a_certificate_was_expected() {
        let of = |pem: &[u8]| certificates("`it.pem`", pem).unwrap_err().to_string();
        assert!(of(b"").ends_with("found nothing, it is empty"), "{}", of(b""));
        assert!(of(b"hello").ends_with("found no PEM at all"));
        assert!(of(&[0x30, 0x82, 1, 2]).contains("found DER"));
        let key = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert_eq!(
            of(key),
            "`it.pem` has no certificate: expected PEM with `-----BEGIN CERTIFICATE-----`, found \
             PRIVATE KEY"
        );
        let cut = b"-----BEGIN CERTIFICATE-----\nAAAA\n";
        assert!(of(cut).starts_with("`it.pem` is damaged PEM: "), "{}", of(cut));
    }

    #[test]
    fn an_encrypted_key_is_refused_by_name() {
        let pkcs8 = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE \
                     KEY-----\n";
        let traditional = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: \
                           AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
        for pem in [pkcs8, traditional] {
            let text = private_key("`k.pem`", pem.as_bytes()).unwrap_err().to_string();
            assert!(text.starts_with("the private key in `k.pem` is encrypted: "), "{text}");
        }
    }

    #[test]
    fn says_what_was_found_where_a_key_was_expected() {
        let certificate = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let text = private_key("`k.pem`", certificate).unwrap_err().to_string();
        assert!(text.ends_with("found CERTIFICATE"), "{text}");
    }
}
