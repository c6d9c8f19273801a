//! Names in which applications and their frameworks read who asks, from where and for what. A client
//! that could write one of them would be whoever it likes (rules 46, 47, 53): they come from the
//! gateway or not at all.

/// Whether `name`, or a name that a server hands to an application as the same, is one of those. The
/// letters of `name` are small.
pub fn is_managed(name: &str) -> bool {
    let folded = folded(name);
    NAMES.contains(&&*folded)
        || FAMILIES.iter().any(|family| folded.starts_with(family))
        || (folded != name && FRAME.contains(&&*folded))
}

/// CGI, and all that came after it, makes a variable of a name: letters and digits stay, every other
/// character becomes `_` (RFC 3875, 4.1.18; PHP, WSGI and Rack each fold their own of them). So a
/// name stands for all that differ from it in those characters.
fn folded(name: &str) -> String {
    name.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte) } else { '-' })
        .collect()
}

/// Names that are managed as they stand.
pub(super) const NAMES: &[&str] = &[
    // Who asks.
    "auth-user",
    "from-user",
    "x-account-id",
    "x-accountid",
    "x-anonymous-consumer",
    "x-auth-email",
    "x-auth-groups",
    "x-auth-roles",
    "x-auth-subject",
    "x-auth-user",
    "x-auth-userid",
    "x-auth-username",
    "x-authorization-user",
    "x-client-cert",
    "x-client-dn",
    "x-client-verify",
    "x-credential-identifier",
    "x-credential-username",
    "x-endpoint-api-userinfo",
    "x-grafana-user",
    "x-jwt-payload",
    "x-session-id",
    "x-token-subject",
    "x-user",
    "x-user-claims",
    "x-user-email",
    "x-user-groups",
    "x-user-id",
    "x-user-name",
    "x-user-roles",
    "x-username",
    // From where, and how.
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "cf-visitor",
    "client-ip",
    "fastly-client-ip",
    "fly-client-ip",
    "forwarded",
    "forwarded-for",
    "front-end-https",
    "true-client-ip",
    "x-appengine-user-ip",
    "x-arr-ssl",
    "x-azure-clientip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forwarded",
    "x-host",
    "x-http-host-override",
    "x-https",
    "x-originating-ip",
    "x-proxyuser-ip",
    "x-real-ip",
    "x-request-id",
    "x-scheme",
    "x-ssl",
    "x-url-scheme",
    // For what. `Proxy` becomes HTTP_PROXY, which programs take for a setting (CVE-2016-5385); the
    // last two tell Rack which files to send.
    "proxy",
    "x-override-url",
    "x-proxy-url",
    "x-request-uri",
    "x-rewrite-url",
    "x-script-name",
    "x-accel-mapping",
    "x-sendfile-type",
];

/// Beginnings of names that are managed, whatever follows.
pub(super) const FAMILIES: &[&str] = &[
    "cf-access-",
    "oidc-claim-",
    "remote-",
    "ssl-client-",
    "tailscale-user-",
    "x-amzn-oidc-",
    "x-auth-request-",
    "x-authenticated-",
    "x-authentik-",
    "x-consumer-",
    "x-envoy-",
    "x-forwarded-",
    "x-goog-authenticated-",
    "x-goog-iap-",
    "x-ms-client-principal",
    "x-original-",
    "x-pomerium-",
    "x-remote-",
    "x-ssl-client-",
    "x-vouch-",
    "x-webauth-",
];

/// Names that a client may write, but not in another spelling: an application would have two, and
/// might believe the one on which nothing here has looked.
const FRAME: &[&str] = &[
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "origin",
    "referer",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_a_client_is_managed_in_every_spelling() {
        for name in [
            "remote-user",
            "remote.user",
            "x-forwarded-user",
            "x-forwarded~user",
            "x!original!uri",
            "x-original-url",
            "x-rewrite-url",
            "true-client-ip",
            "true*client'ip",
            "x_account_id",
            "x.account.id",
            "x|real^ip",
            "proxy",
            "x-auth-request-email",
        ] {
            assert!(is_managed(name), "{name}");
        }
    }

    #[test]
    fn what_a_client_may_say_of_itself_is_not() {
        for name in [
            "accept",
            "authorization",
            "content-type",
            "cookie",
            "host",
            "x-csrf-token",
            "x-requested-with",
            "x-http-method-override",
            "x-forward",
            "user-agent",
            "x.trace",
            "proxy-agent",
            "traceparent",
        ] {
            assert!(!is_managed(name), "{name}");
        }
    }

    #[test]
    fn a_second_spelling_of_what_frames_a_request_is() {
        for name in ["content.length", "transfer~encoding", "cookie", "content-length", "co.okie"] {
            let is_second = name.contains(['.', '~']) && name != "co.okie";
            assert_eq!(is_managed(name), is_second, "{name}");
        }
    }
}
