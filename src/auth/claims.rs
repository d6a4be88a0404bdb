//! The claims of a verified token.

use std::{fmt, sync::Arc};

use serde_json::{Map, Value};

use super::jwt::TokenError;

/// Claims of a token whose signature was right. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Claims(Arc<Inner>);

#[derive(PartialEq, Eq)]
struct Inner {
    json: Arc<str>,
    role: Arc<str>,
    expires_at: i64,
    subject: Option<Box<str>>,
}

impl Claims {
    /// Reads claims, given as the JSON text of the token's payload.
    /// `now` is in seconds since 1970.
    ///
    /// # Errors
    ///
    /// [`TokenError`] when they are not usable: see its variants.
    pub fn parse(json: &str, now: i64) -> Result<Self, TokenError> {
        let claims: Map<String, Value> =
            serde_json::from_str(json).map_err(|_| TokenError::Invalid)?;
        let expires_at = claims.get("exp").map(seconds).transpose()?;
        claims.get("iat").map(seconds).transpose()?;
        if let Some(expires_at) = expires_at
            && expires_at <= now
        {
            return Err(TokenError::Expired { seconds: now.saturating_sub(expires_at) });
        }
        let (Some(role), Some(expires_at)) = (claims.get("role"), expires_at) else {
            return Err(TokenError::MissingClaims);
        };
        // What names no database role reads as the empty one, which does not exist.
        let role = text(role).filter(|role| is_role(role)).unwrap_or_default();
        let subject = claims.get("sub").and_then(text).map(Into::into);
        Ok(Self(Arc::new(Inner { json: json.into(), role: role.into(), expires_at, subject })))
    }

    /// All claims as JSON text, as they were signed.
    pub fn json(&self) -> &Arc<str> {
        &self.0.json
    }

    /// The database role.
    pub fn role(&self) -> &Arc<str> {
        &self.0.role
    }

    /// `sub`: usually the user's id.
    pub fn subject(&self) -> Option<&str> {
        self.0.subject.as_deref()
    }

    /// `exp`: seconds since 1970.
    pub fn expires_at(&self) -> i64 {
        self.0.expires_at
    }
}

impl fmt::Debug for Claims {
    // The claims themselves never reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims").field("role", &self.0.role).finish_non_exhaustive()
    }
}

/// A text that PostgreSQL can hold, which has none with a zero byte.
fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.contains('\0'))
}

/// To PostgreSQL `none` is no role but the login's own, whom policies may not
/// bind: a token must not ask for it, in whatever letters.
fn is_role(name: &str) -> bool {
    !name.eq_ignore_ascii_case("none")
}

/// A numeric date, fractions rounded.
fn seconds(value: &Value) -> Result<i64, TokenError> {
    if let Some(whole) = value.as_i64() {
        return Ok(whole);
    }
    match value.as_f64() {
        #[expect(clippy::cast_possible_truncation, reason = "the range was checked")]
        Some(number) if number.abs() < 1e15 => Ok(number.round() as i64),
        _ => Err(TokenError::Invalid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000;

    #[test]
    fn role_and_exp_are_required() {
        let claims = Claims::parse(r#"{"role":"anon","exp":2000,"sub":"u"}"#, NOW).unwrap();
        assert_eq!((claims.role().as_ref(), claims.subject()), ("anon", Some("u")));
        assert_eq!(Claims::parse(r#"{"exp":2000}"#, NOW), Err(TokenError::MissingClaims));
        assert_eq!(Claims::parse(r#"{"role":"anon"}"#, NOW), Err(TokenError::MissingClaims));
    }

    #[test]
    fn expiry_has_no_leeway_and_may_be_fractional() {
        let at = |exp: &str| Claims::parse(&format!(r#"{{"role":"a","exp":{exp}}}"#), NOW);
        assert_eq!(at("1000"), Err(TokenError::Expired { seconds: 0 }));
        assert_eq!(at("-5"), Err(TokenError::Expired { seconds: 1005 }));
        assert_eq!(at("1000.6").unwrap().expires_at(), 1001);
        assert_eq!(at("-9223372036854775808"), Err(TokenError::Expired { seconds: i64::MAX }));
        assert_eq!(at("9223372036854775807").unwrap().expires_at(), i64::MAX);
    }

    #[test]
    fn dates_that_are_no_numbers_are_invalid() {
        for claims in [
            r#"{"role":"a","exp":"2000"}"#,
            r#"{"role":"a","exp":null}"#,
            r#"{"role":"a","exp":1e300}"#,
            r#"{"role":"a","exp":2000,"iat":"x"}"#,
            "[]",
            r#""text""#,
        ] {
            assert_eq!(Claims::parse(claims, NOW), Err(TokenError::Invalid), "{claims}");
        }
    }

    #[test]
    fn a_role_that_cannot_be_one_is_nobodys() {
        for role in ["7", "null", r#""none""#, r#""NoNe""#, r#""a\u0000""#] {
            let claims = Claims::parse(&format!(r#"{{"role":{role},"exp":2000}}"#), NOW).unwrap();
            assert_eq!(claims.role().as_ref(), "", "{role}");
        }
    }

    #[test]
    fn a_subject_that_a_database_cannot_hold_is_none() {
        let claims = Claims::parse(r#"{"role":"a","exp":2000,"sub":"u\u0000"}"#, NOW).unwrap();
        assert_eq!(claims.subject(), None);
    }
}
