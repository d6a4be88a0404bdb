//! Who asks to see rows: a role with its claims, whoever and however many share it.

use std::{collections::HashMap, fmt, sync::Arc};

use serde_json::Value;

/// A role and its claims.
pub(in super::super) struct Claimant {
    /// Never used again, so that a verdict cannot become another's.
    pub(in super::super) id: u64,
    pub(super) role: Arc<str>,
    /// JSON, as `request.jwt.claims` will have it.
    pub(super) claims: Arc<str>,
    /// The claim `sub`; empty if it is no text.
    pub(super) subject: Box<str>,
}

type RoleAndClaims = (Arc<str>, Arc<str>);

/// The claimants of all members, each once.
#[derive(Debug, Default)]
pub(in super::super) struct Claimants {
    /// By role and claims, with the number of members.
    known: HashMap<RoleAndClaims, (Arc<Claimant>, usize)>,
    ids: u64,
}

impl Claimants {
    /// The claimant of this role and these claims, for one more member.
    pub(in super::super) fn enter(&mut self, role: &Arc<str>, claims: &Arc<str>) -> Arc<Claimant> {
        let key = (Arc::clone(role), Arc::clone(claims));
        let (claimant, members) = self.known.entry(key).or_insert_with(|| {
            self.ids += 1;
            let (role, claims) = (Arc::clone(role), Arc::clone(claims));
            let subject = subject(&claims);
            (Arc::new(Claimant { id: self.ids, role, claims, subject }), 0)
        });
        *members += 1;
        Arc::clone(claimant)
    }

    /// One member less.
    pub(in super::super) fn leave(&mut self, claimant: &Claimant) {
        let key = (Arc::clone(&claimant.role), Arc::clone(&claimant.claims));
        if let Some((_, members)) = self.known.get_mut(&key) {
            *members -= 1;
            if *members == 0 {
                self.known.remove(&key);
            }
        }
    }
}

impl fmt::Debug for Claimant {
    // Claims never reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claimant").field("id", &self.id).field("role", &self.role).finish()
    }
}

fn subject(claims: &str) -> Box<str> {
    let claims: Value = serde_json::from_str(claims).unwrap_or_default();
    let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
    // PostgreSQL has no text with a zero byte.
    if subject.contains('\0') { "".into() } else { subject.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_claims_are_one_claimant_until_the_last_leaves() {
        let mut claimants = Claimants::default();
        let (role, claims) = (Arc::from("a"), Arc::from(r#"{"sub":"u"}"#));
        let one = claimants.enter(&role, &claims);
        let two = claimants.enter(&Arc::from("a"), &Arc::from(r#"{"sub":"u"}"#));
        assert_eq!((one.id, &*one.subject), (two.id, "u"));
        assert_ne!(claimants.enter(&role, &Arc::from("{}")).id, one.id);
        claimants.leave(&one);
        assert_eq!(claimants.enter(&role, &claims).id, one.id);
        claimants.leave(&one);
        claimants.leave(&one);
        assert_ne!(claimants.enter(&role, &claims).id, one.id);
    }

    #[test]
    fn a_subject_is_a_text_or_nothing() {
        for claims in ["{}", r#"{"sub":5}"#, r#"{"sub":"a\u0000"}"#, "[]", ""] {
            assert_eq!(&*subject(claims), "", "{claims}");
        }
    }
}
