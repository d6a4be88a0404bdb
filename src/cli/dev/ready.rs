//! The first screen: all that is needed to see a change arrive.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anstyle::Style;

use super::super::screen::{FAINT, GOOD, STRONG, VALUE, paint};
use crate::{
    http::{
        Pages,
        dev::Tokens,
        inspector::{DevKeys, Page},
        site::Site,
    },
    tenants::chat_schema::GENERAL_ROOM,
};

/// Where a build of the chat's application is, from the project's folder.
const APPLICATION: &str = "clients/nextjs-chat/out";

/// Keys are long and to be copied: no colour gets in the way.
const PLAIN: Style = Style::new();

/// What the screen tells.
#[derive(Debug)]
pub(super) struct Screen {
    pub(super) address: SocketAddr,
    pub(super) anon_key: String,
    pub(super) service_key: String,
    pub(super) jwt_secret: String,
    pub(super) database_url: String,
    /// For example `PostgreSQL 17.2 in …`.
    pub(super) database: String,
    /// Whether that is a private one, stopped at the end.
    pub(super) own: bool,
    /// PostgreSQL's client, if there is one.
    pub(super) psql: Option<String>,
    /// This program.
    pub(super) rowcast: String,
}

impl Screen {
    /// The screen as text; styles are stripped where nobody sees them.
    pub(super) fn render(&self) -> String {
        let url = self.url();
        let mut lines = vec![
            String::new(),
            format!(
                "  {} {}",
                paint(GOOD, "Rowcast is ready."),
                paint(FAINT, format!("v{} · {}", env!("CARGO_PKG_VERSION"), self.database))
            ),
            String::new(),
            row("Page", VALUE, &format!("{url}/")),
            row("URL", VALUE, &url),
            row("Database", VALUE, &self.database_url),
            row("JWT secret", PLAIN, &self.jwt_secret),
            row("anon key", PLAIN, &self.anon_key),
            row("service key", PLAIN, &self.service_key),
            String::new(),
            format!("  {}", paint(STRONG, "Insert a row")),
            format!("    {}", self.insert()),
        ];
        lines.extend([
            String::new(),
            format!(
                "  {} {}",
                paint(STRONG, "See it arrive"),
                paint(FAINT, "(npm install @supabase/supabase-js, then in Node or a page)")
            ),
        ]);
        lines.extend(self.snippet().lines().map(|line| format!("    {line}")));
        lines.extend([
            String::new(),
            paint(
                FAINT,
                format!(
                    "  Ctrl-C stops the server{}.",
                    if self.own { " and its database" } else { "" }
                ),
            ),
            String::new(),
        ]);
        lines.join("\n")
    }

    /// What is served beside the API: all that `serve` has not.
    pub(super) fn pages(&self) -> Pages {
        let keys = DevKeys {
            anon_key: self.anon_key.clone(),
            service_role_key: self.service_key.clone(),
            insert_line: Some(self.insert()),
        };
        let tokens = Tokens { secret: self.jwt_secret.clone(), anon_key: self.anon_key.clone() };
        Pages {
            inspector: Arc::new(Page { dev: Some(keys) }),
            tokens: Some(tokens),
            chat: built().and_then(|folder| Site::new(&folder, "/chat").ok()),
            site: None,
        }
    }

    fn url(&self) -> String {
        let address = self.address;
        // The unspecified address is for listening, not for connecting.
        if address.ip().is_unspecified() {
            format!("http://127.0.0.1:{}", address.port())
        } else {
            format!("http://{address}")
        }
    }

    fn insert(&self) -> String {
        let start = match &self.psql {
            Some(psql) => format!("{psql} '{}' -c", self.database_url),
            None => format!("{} sql", self.rowcast),
        };
        format!(
            "{start} \"insert into messages (room_id, sender_id, content) \
             values ('{GENERAL_ROOM}', gen_random_uuid(), 'hello')\""
        )
    }

    fn snippet(&self) -> String {
        format!(
            "import {{ createClient }} from '@supabase/supabase-js'\n\
             const supabase = createClient('{}', '{}')\n\
             supabase.channel('messages')\n  \
             .on('postgres_changes', {{ event: '*', schema: 'public', table: 'messages' }}, console.log)\n  \
             .subscribe(console.log)",
            self.url(),
            self.anon_key
        )
    }
}

/// The chat's application, if it was built: here, or where this program was.
fn built() -> Option<PathBuf> {
    let program = std::env::current_exe().unwrap_or_default();
    let places = std::iter::once(Path::new("")).chain(program.ancestors().skip(1));
    places.map(|place| place.join(APPLICATION)).find(|folder| folder.join("index.html").is_file())
}

fn row(name: &str, style: Style, value: &str) -> String {
    format!("  {}  {}", paint(STRONG, format!("{name:<11}")), paint(style, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_screen_tells_everything() {
        let screen = Screen {
            address: "0.0.0.0:4000".parse().unwrap(),
            anon_key: "ANON".to_owned(),
            service_key: "SERVICE".to_owned(),
            jwt_secret: "SECRET".to_owned(),
            database_url: "postgresql://postgres:p@127.0.0.1:54329/postgres".to_owned(),
            database: "PostgreSQL 17.2 in /tmp/x".to_owned(),
            own: true,
            psql: Some("psql".to_owned()),
            rowcast: "rowcast".to_owned(),
        };
        let plain = anstream::adapter::strip_str(&screen.render()).to_string();
        let plain = plain.replace(env!("CARGO_PKG_VERSION"), "VERSION");
        insta::assert_snapshot!(plain);
        let without_psql = Screen { psql: None, ..screen };
        assert!(without_psql.render().contains("    rowcast sql \"insert into messages"));
    }
}
