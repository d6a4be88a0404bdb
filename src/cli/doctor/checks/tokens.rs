//! The keys that clients' tokens are signed with.

use crate::{
    auth::{Jwks, jwks_fetch::Address},
    cli::doctor::report::Report,
    config::{JwksUrl, TenantSettings},
    secret::Secret,
    telemetry,
};

/// Values of examples: whoever reads those signs tokens of any user.
const EXAMPLES: &[&str] = &[
    "your-super-secret-jwt-token-with-at-least-32-characters-long",
    "super-secret-jwt-token-with-at-least-32-characters-long",
    "your-super-secret-and-long-jwt-secret-here",
    "dc447559-996d-4761-a306-f47a5eab1623",
    "a-secret-that-everybody-knows-for-demos",
    "secret",
    "changeme",
    "dev",
];

/// HS256 wants a key as long as its hash (RFC 7518, 3.2).
const BYTES: usize = 32;

const MAKE: &str = "set API_JWT_SECRET to the output of openssl rand -hex 32, and make new keys with rowcast token";

pub(super) async fn check(tenant: &TenantSettings, report: &mut Report) {
    secret(tenant, report);
    let mut keys = 0;
    if let Some(jwks) = &tenant.jwt_jwks {
        keys += jwks.len();
        skipped("API_JWT_JWKS", jwks, report);
    }
    if let Some(published) = &tenant.jwks_url {
        keys += fetched(published, report).await;
    }
    let secret = if tenant.jwt_secret.is_some() { "a secret" } else { "no secret" };
    report.checked("tokens", format!("{secret} and {keys} public keys"));
}

fn secret(tenant: &TenantSettings, report: &mut Report) {
    let Some(secret) = tenant.jwt_secret.as_ref().map(Secret::expose) else {
        if tenant.jwt_jwks.is_none() && tenant.jwks_url.is_none() {
            let what = "There is no secret and no key set: no token can be verified, and the server does not start.";
            report.error("jwt_secret_missing", what).by(MAKE);
        }
        return;
    };
    if EXAMPLES.contains(&secret) {
        let what = "The secret of tokens is one from an example: anybody can sign in as anybody, also as service_role.";
        report.error("jwt_secret_example", what).by(MAKE);
    } else if secret.len() < BYTES {
        let what = format!(
            "The secret of tokens has {} bytes, and less than {BYTES} can be guessed: who does signs in as anybody.",
            secret.len()
        );
        report.warning("jwt_secret_short", what).by(MAKE);
    }
}

/// Fetches a published set, and tells how many keys it has.
async fn fetched(published: &JwksUrl, report: &mut Report) -> usize {
    let fetched = match Address::new(&published.url, published.allow_http) {
        Ok(address) => address.fetch().await.map_err(|error| telemetry::reason(&error)),
        Err(error) => Err(telemetry::reason(&error)),
    };
    let jwks = match fetched {
        Ok(jwks) => jwks,
        Err(reason) => {
            let what = format!(
                "The key set of ROWCAST_JWKS_URL cannot be had ({reason}): tokens signed with its keys are refused."
            );
            report
                .error("jwks_unreachable", what)
                .by("open ROWCAST_JWKS_URL from this machine with curl, and mend what it says");
            return 0;
        }
    };
    if jwks.has_secret() {
        let what = "The key set of ROWCAST_JWKS_URL holds a shared secret (kty oct): whoever can read the page signs in as anybody.";
        report
            .error("jwks_shared_secret", what)
            .by("publish public keys only (RSA, EC or OKP), and replace that secret");
    }
    skipped("ROWCAST_JWKS_URL", &jwks, report);
    jwks.len()
}

/// Keys that are of no use here.
fn skipped(source: &str, jwks: &Jwks, report: &mut Report) {
    if jwks.is_empty() {
        let what = format!("The key set of {source} has no key that can verify a token.");
        report.warning("jwks_empty", what).by("add a key with a kid");
    }
    for key in jwks.skipped() {
        let kid = key.kid.as_deref().map_or_else(String::new, |kid| format!(" {kid:?}"));
        let what = format!(
            "A key{kid} of {source} is left out, because {}: tokens signed with it are refused.",
            key.reason
        );
        report.warning("jwks_key", what).by("correct the key or remove it");
    }
}
