//! What one setting is: its name, its form, its default, its help.

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Knob {
    /// The variable.
    pub name: &'static str,
    /// Other names it may have; the first name wins.
    pub aliases: &'static [&'static str],
    /// The form of its value.
    pub kind: Kind,
    /// The value when nothing is set; empty if there is none.
    pub default: &'static str,
    /// Whether its value must never be shown.
    pub secret: bool,
    /// The chapter it is listed in.
    pub section: Section,
    /// One sentence.
    pub help: &'static str,
}

/// The form of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// `true` or `false`.
    Bool,
    /// An IP address.
    Address,
    /// An IP address with a port.
    SocketAddress,
    /// A whole number within bounds, counted in `unit`.
    Number {
        /// Smallest value.
        min: u64,
        /// Largest value.
        max: u64,
        /// What is counted; empty for a plain number.
        unit: &'static str,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A file or folder.
    Path,
    /// A `postgres://` URL.
    Url,
    /// An `https://` or `http://` URL.
    WebUrl,
    /// A `redis://` URL or one of its sisters.
    RedisUrl,
    /// A JSON object.
    Object,
    /// Texts separated by commas.
    List,
    /// A name of a replication slot: what PostgreSQL accepts.
    SlotName,
}

/// The chapters of the settings, in the order in which they are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Listening.
    Network,
    /// The database.
    Database,
    /// Secrets and tokens.
    Tokens,
    /// The one tenant and its limits.
    Tenant,
    /// Tenants in a control database.
    Control,
    /// Sockets.
    Sockets,
    /// Other servers.
    Cluster,
    /// Logical replication.
    Replication,
    /// Messages of the database.
    Messages,
    /// Database changes and their subscribers.
    Changes,
    /// Rooms and their messages.
    Chat,
    /// Logs.
    Logs,
    /// `rowcast dev`.
    Dev,
}

impl Section {
    /// Its heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Network => "Network",
            Self::Database => "Database",
            Self::Tokens => "Tokens",
            Self::Tenant => "Tenant and limits",
            Self::Control => "Control database",
            Self::Sockets => "Sockets",
            Self::Cluster => "Several servers",
            Self::Replication => "Replication",
            Self::Messages => "Messages of the database",
            Self::Changes => "Database changes",
            Self::Chat => "Chat",
            Self::Logs => "Logs",
            Self::Dev => "Development",
        }
    }
}

impl Knob {
    /// A setting that is neither secret nor known by another name.
    pub(super) const fn new(
        section: Section,
        name: &'static str,
        kind: Kind,
        default: &'static str,
        help: &'static str,
    ) -> Self {
        Self { name, aliases: &[], kind, default, secret: false, section, help }
    }

    /// The same, never shown.
    pub(super) const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    /// The same, also known by other names.
    pub(super) const fn also(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    /// The setting of that name or alias.
    pub fn find(name: &str) -> Option<&'static Self> {
        super::vars::KNOBS.iter().find(|knob| knob.name == name || knob.aliases.contains(&name))
    }
}

impl Kind {
    /// A count of something from 1 up.
    pub(super) const fn count(unit: &'static str) -> Self {
        Self::Number { min: 1, max: 1_000_000_000, unit }
    }

    /// Milliseconds up to a day; 0 allowed.
    pub(super) const MILLIS: Self = Self::Number { min: 0, max: 86_400_000, unit: "milliseconds" };

    /// Milliseconds up to a day, where none at all would leave nothing to work.
    pub(super) const SOME_MILLIS: Self =
        Self::Number { min: 1, max: 86_400_000, unit: "milliseconds" };

    /// What a value should be, as the end of a sentence.
    pub fn expected(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Bool => "true or false".to_owned(),
            Self::Address => "an IP address".to_owned(),
            Self::SocketAddress => "an address with a port such as 127.0.0.1:4001".to_owned(),
            Self::Number { min, max, unit: "" } => format!("a number from {min} to {max}"),
            Self::Number { min, max, unit } => format!("a number of {unit} from {min} to {max}"),
            Self::Choice(words) => match words.split_last() {
                Some((last, rest)) if !rest.is_empty() => {
                    format!("{} or {last}", rest.join(", "))
                }
                _ => words.concat(),
            },
            Self::Path => "a path".to_owned(),
            Self::Url => "a URL such as postgres://user:password@host:5432/database".to_owned(),
            Self::WebUrl => "a URL such as https://auth.example.com/jwks.json".to_owned(),
            Self::RedisUrl => {
                "a URL such as redis://user:password@host:6379; rediss:// with TLS; redis-sentinel://… or redis-cluster://…".to_owned()
            }
            Self::Object => "a JSON object".to_owned(),
            Self::List => "texts separated by commas".to_owned(),
            Self::SlotName => {
                "a name of at most 63 lower-case letters, digits and underscores".to_owned()
            }
        }
    }
}
