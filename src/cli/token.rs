//! `rowcast token`: makes a key for a client.

use clap::builder::NonEmptyStringValueParser;
use serde_json::{Map, Value};

use super::{Failure, dev, screen};
use crate::{
    auth::jwt,
    config::{Overrides, Resolved, env::Env},
    runtime::clock,
    secret::Secret,
};

/// Ten years: for keys that are part of an application.
pub(super) const KEY_LIFE: u64 = 10 * 365 * 24 * 3600;
/// For tokens of users.
const TOKEN_LIFE: u64 = 3600;

/// Flags of `token`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Database role: anon, authenticated, service_role or any other
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    role: String,
    /// The user's id
    #[arg(long)]
    sub: Option<String>,
    /// Life such as 90s, 15m, 1h, 30d, 2w or 10y, or the second (Unix time) at
    /// which it ends [10y for anon and service_role, otherwise 1h]
    #[arg(long, value_parser = parse_expiry)]
    exp: Option<Expiry>,
    /// A further claim; the value is JSON, or else text
    #[arg(long = "claim", value_name = "NAME=JSON", value_parser = parse_claim)]
    claims: Vec<(String, Value)>,
    /// Secret to sign with [ROWCAST_JWT_SECRET, API_JWT_SECRET, or that of rowcast dev]
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    secret: Option<String>,
}

/// When a token ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    /// Seconds from now.
    In(u64),
    /// Unix time.
    At(u64),
}

impl Expiry {
    /// The second at which a token ends that is issued at `now`.
    fn end(self, now: u64) -> u64 {
        match self {
            Self::In(seconds) => now.saturating_add(seconds),
            Self::At(second) => second,
        }
    }
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let secret = match &args.secret {
        Some(secret) => Secret::new(secret.as_str()),
        None => configured()?,
    };
    let life = match args.role.as_str() {
        "anon" | "service_role" => KEY_LIFE,
        _ => TOKEN_LIFE,
    };
    let mut claims = Map::new();
    claims.extend(args.claims.iter().cloned());
    if let Some(sub) = &args.sub {
        claims.insert("sub".to_owned(), sub.as_str().into());
    }
    let expiry = args.exp.unwrap_or(Expiry::In(life));
    let now = clock::unix_time().as_secs();
    if expiry.end(now) <= now {
        return Err(Failure::new(
            "The token would have expired already: --exp is no later than now.",
            "give a life with its unit, such as 1h, or a later Unix time.",
        ));
    }
    screen::line(mint(&secret, &args.role, now, expiry, claims)?);
    Ok(())
}

/// Signs a token for `role` with HS256, issued at the second `now`.
pub(super) fn mint(
    secret: &Secret,
    role: &str,
    now: u64,
    expiry: Expiry,
    mut claims: Map<String, Value>,
) -> Result<String, Failure> {
    claims.insert("role".to_owned(), role.into());
    claims.insert("iat".to_owned(), now.into());
    claims.insert("exp".to_owned(), expiry.end(now).into());
    jwt::sign(&claims, secret.expose()).map_err(|error| {
        Failure::new(format!("The token could not be signed: {error}."), "try another secret.")
    })
}

/// The secret in force, or else that of `rowcast dev` in this folder.
pub(super) fn configured() -> Result<Secret, Failure> {
    Resolved::read(&Env, &Overrides::default())?
        .jwt_secret()
        .or_else(|missing| dev::stored_secret().ok_or(missing))
        .map_err(|_| {
            Failure::new(
                "There is no secret to sign with.",
                "set API_JWT_SECRET as the server has it, or pass --secret.",
            )
        })
}

fn parse_expiry(text: &str) -> Result<Expiry, String> {
    let expected =
        || "expected a time such as 90s, 15m, 1h, 30d, 2w or 10y, or a Unix time".to_owned();
    if let Ok(second) = text.parse() {
        return Ok(Expiry::At(second));
    }
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 24 * 3600,
        Some('w') => 7 * 24 * 3600,
        Some('y') => 365 * 24 * 3600,
        _ => return Err(expected()),
    };
    text.trim_end_matches(char::is_alphabetic)
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .filter(|_| text.chars().filter(|c| c.is_alphabetic()).count() == 1)
        .map(Expiry::In)
        .ok_or_else(expected)
}

fn parse_claim(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=JSON")?;
    if matches!(name, "" | "role" | "exp" | "iat" | "sub") {
        return Err("this claim has its own flag, or is always set".to_owned());
    }
    // A shell eats quotes, so what is not JSON is meant as text.
    let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn expiry_is_a_life_or_a_moment() {
        assert_eq!(parse_expiry("90s"), Ok(Expiry::In(90)));
        assert_eq!(parse_expiry("1h"), Ok(Expiry::In(3600)));
        assert_eq!(parse_expiry("30d"), Ok(Expiry::In(2_592_000)));
        assert_eq!(parse_expiry("1893456000"), Ok(Expiry::At(1_893_456_000)));
        for bad in ["", "h", "1 h", "1hh", "-1h", "1.5h", "soon", "99999999999999999999y"] {
            assert!(parse_expiry(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_would_be_useless_is_refused() {
        let parse = |flags: &[&str]| {
            let flags = ["rowcast", "token"].iter().chain(flags);
            super::super::Cli::try_parse_from(flags)
        };
        assert!(parse(&["--role", "anon", "--secret", "s"]).is_ok());
        assert!(parse(&["--role", "anon", "--secret", ""]).is_err());
        assert!(parse(&["--role", "", "--secret", "s"]).is_err());
        for past in [Expiry::At(3600), Expiry::In(0)] {
            let args = Args {
                role: "anon".to_owned(),
                sub: None,
                exp: Some(past),
                claims: Vec::new(),
                secret: Some("s".to_owned()),
            };
            assert!(run(&args).unwrap_err().to_string().contains("--exp"));
        }
    }

    #[test]
    fn a_claim_is_json_or_text() {
        assert_eq!(parse_claim("n=1"), Ok(("n".to_owned(), 1.into())));
        assert_eq!(parse_claim("team=red"), Ok(("team".to_owned(), "red".into())));
        assert_eq!(parse_claim(r#"a={"b":[]}"#).unwrap().1, serde_json::json!({"b": []}));
        assert!(parse_claim("role=x").is_err());
        assert!(parse_claim("alone").is_err());
    }

    #[test]
    fn a_minted_token_verifies() {
        let secret = Secret::new("a secret that is long enough");
        let token = {
            let now = clock::unix_time().as_secs();
            mint(&secret, "anon", now, Expiry::In(60), Map::new()).unwrap()
        };
        let key = jsonwebtoken::DecodingKey::from_secret(secret.expose().as_bytes());
        let rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
        let claims = jsonwebtoken::decode::<Value>(&token, &key, &rules).unwrap().claims;
        assert_eq!(claims["role"], "anon");
        assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 60);
    }
}
