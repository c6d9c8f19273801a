//! The certificate that the gateway would show: its names, and how long it is good for.

use std::{fs, path::Path, time::SystemTime};

use x509_cert::{
    Certificate,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use super::{Finding, Verdict};
use crate::{
    args::Serve,
    certificates,
    session::{Span, Stamp},
};

/// The certificate, if the gateway would speak TLS.
pub fn certificate(asked: &Serve) -> Option<Finding> {
    let (cert, key) = (asked.tls_cert.as_deref()?, asked.tls_key.as_deref()?);
    if let Err(trouble) = certificates::read(cert, key) {
        return Some(Finding::trouble("certificate", &trouble));
    }
    Some(judge(cert, Stamp::now()))
}

fn judge(path: &Path, now: Stamp) -> Finding {
    let expected = "one for the host that clients ask for, good for 14 days more, and its key";
    let shown = fs::read(path).ok().and_then(|pem| {
        let chain = Certificate::load_pem_chain(&pem).ok()?;
        Some(chain.first()?.clone())
    });
    let Some(shown) = shown else {
        let found = format!("{} can be shown, and not read here", path.display());
        return Finding::of(Verdict::Note, "certificate", found, expected, "look at it by openssl");
    };
    let validity = shown.tbs_certificate().validity();
    let begins = stamp(validity.not_before.to_system_time());
    let ends = stamp(validity.not_after.to_system_time());
    let names = format!("{}: {}", path.display(), names(&shown));
    if now < begins {
        let found = format!("{names}; good in {} only", begins.since(now));
        let advice = "set the clock, or wait: until then every client refuses it";
        return Finding::of(Verdict::Bad, "certificate", found, expected, advice);
    }
    if now >= ends {
        let found = format!("{names}; expired {} ago", now.since(ends));
        let advice = "renew it, and send SIGHUP to the gateway: every client refuses it";
        return Finding::of(Verdict::Bad, "certificate", found, expected, advice);
    }
    let found = format!("{names}; good for {} more", ends.since(now));
    if ends.since(now) < SOON {
        let advice = "renew it, and send SIGHUP to the gateway";
        return Finding::of(Verdict::Note, "certificate", found, expected, advice);
    }
    Finding::ok("certificate", found, expected)
}

fn names(certificate: &Certificate) -> String {
    let found = certificate.tbs_certificate().get_extension::<SubjectAltName>().ok().flatten();
    let names: Vec<String> = found
        .into_iter()
        .flat_map(|(_, names)| names.0)
        .filter_map(|name| match name {
            GeneralName::DnsName(name) => Some(name.to_string()),
            GeneralName::IpAddress(bytes) => address(bytes.as_bytes()),
            _ => None,
        })
        .collect();
    if names.is_empty() { "for no name".to_owned() } else { format!("for {}", names.join(", ")) }
}

fn address(bytes: &[u8]) -> Option<String> {
    match bytes.len() {
        4 => {
            <[u8; 4]>::try_from(bytes).ok().map(|bytes| std::net::Ipv4Addr::from(bytes).to_string())
        }
        _ => <[u8; 16]>::try_from(bytes)
            .ok()
            .map(|bytes| std::net::Ipv6Addr::from(bytes).to_string()),
    }
}

fn stamp(time: SystemTime) -> Stamp {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Stamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

const SOON: Span = Span::seconds(14 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_judged_by_the_time_it_has_left() {
        let key = rcgen::KeyPair::generate().unwrap();
        let names = ["app.test".to_owned(), "127.0.0.1".to_owned()];
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 4, 1);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.pem");
        fs::write(&path, params.self_signed(&key).unwrap().pem()).unwrap();
        let day = 86_400_000;
        let begins = 1_767_225_600_000;
        let at = |millis| judge(&path, Stamp::from_millis(millis));
        assert_eq!(at(begins - day).verdict, Verdict::Bad);
        assert_eq!(at(begins + day).verdict, Verdict::Ok);
        assert_eq!(at(begins + 80 * day).verdict, Verdict::Note);
        assert_eq!(at(begins + 90 * day).verdict, Verdict::Bad);
        let found = at(begins + day).found;
        assert!(found.ends_with("for app.test, 127.0.0.1; good for 89d more"), "{found}");
    }
}
