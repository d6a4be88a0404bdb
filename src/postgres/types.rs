//! Names of PostgreSQL's built-in types.

use std::{collections::HashMap, sync::LazyLock};

use tokio_postgres::types::Type;

/// `pg_type.typname` of a built-in type (`int4`, `_text`, `timestamptz`);
/// none for a type that was created in the database, such as an enum.
pub fn type_name(oid: u32) -> Option<&'static str> {
    NAMES.get(&oid).map(|name| &**name)
}

/// Every type that PostgreSQL ships has an oid below the first one that a
/// database hands out itself (`FirstNormalObjectId`).
static NAMES: LazyLock<HashMap<u32, Box<str>>> = LazyLock::new(|| {
    (1..16_384).filter_map(|oid| Some((oid, Type::from_oid(oid)?.name().into()))).collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_types_have_their_catalog_names() {
        assert_eq!(type_name(23), Some("int4"));
        assert_eq!(type_name(1184), Some("timestamptz"));
        assert_eq!(type_name(1009), Some("_text"));
        assert_eq!(type_name(3802), Some("jsonb"));
        assert_eq!(type_name(60_000), None);
    }
}
