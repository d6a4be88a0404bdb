//! Which database roles a client's token may name.
//!
//! PostgreSQL decides which roles the server can take at all. This list is for
//! what should not be taken even so: a token signed by mistake, or a server whose
//! login may become anybody.

/// Administrators of common installations, whom no policy binds.
const ADMINISTRATORS: [&str; 2] = ["postgres", "supabase_admin"];

/// Roles that tokens may name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roles {
    /// These alone; all but dangerous ones if there are none.
    allowed: Vec<String>,
    /// The server's own login.
    login: Option<String>,
}

impl Roles {
    /// Only the roles of a list; if it is empty, all but administrators, those
    /// of PostgreSQL itself, and the server's own `login`.
    pub fn new(allowed: &[String], login: &str) -> Self {
        Self { allowed: allowed.to_vec(), login: Some(login.to_owned()) }
    }

    /// Whether a token may name this role.
    pub(super) fn allow(&self, role: &str) -> bool {
        if !self.allowed.is_empty() {
            return self.allowed.iter().any(|allowed| allowed == role);
        }
        !ADMINISTRATORS.contains(&role)
            && !role.starts_with("pg_")
            && self.login.as_deref() != Some(role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_all_there_is() {
        let roles = Roles::new(&["anon".to_owned(), "postgres".to_owned()], "rowcast");
        assert!(roles.allow("anon") && roles.allow("postgres"));
        assert!(!roles.allow("authenticated") && !roles.allow(""));
    }

    #[test]
    fn without_a_list_dangerous_roles_are_refused() {
        let roles = Roles::new(&[], "rowcast");
        assert!(roles.allow("anon") && roles.allow("service_role") && roles.allow(""));
        for role in ["postgres", "supabase_admin", "pg_read_all_data", "rowcast"] {
            assert!(!roles.allow(role), "{role}");
        }
    }
}
