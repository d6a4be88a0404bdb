//! The tenant of a server that somebody hosts for one application, made anew
//! from the settings at each start.

use serde_json::{Value, json};

use super::{PutError, Store, remove, rows};
use crate::{
    postgres::connect::ConnectConfig,
    secret::Secret,
    tenants::record::{Record, Request},
};

/// What it is made of.
#[derive(Debug, Clone)]
pub struct Seed {
    /// Its name.
    pub external_id: String,
    /// HMAC secret of its tokens.
    pub jwt_secret: Option<Secret>,
    /// Public keys of its tokens, a JSON object.
    pub jwt_jwks: Option<Secret>,
    /// Its database.
    pub database: ConnectConfig,
}

impl Store {
    /// Deletes the tenant of that name and makes it anew: what was changed by
    /// way of the admin API is gone, as with Supabase Realtime.
    ///
    /// # Errors
    ///
    /// [`PutError`]; what was there is there still.
    pub async fn seed(&self, seed: &Seed) -> Result<Record, PutError> {
        let request = Request::parse(&seed.body(), None).map_err(PutError::Invalid)?;
        let record = Record::new(&request, &self.config.defaults).map_err(PutError::Invalid)?;
        let tx = self.begin(&seed.external_id).await?;
        remove(&tx, &seed.external_id).await?;
        rows::write(&tx, &record, true, &self.config.vault).await?;
        let stored = super::read(&tx.lease, &seed.external_id, &self.config.vault).await?;
        tx.end("commit").await?;
        Ok(stored.unwrap_or(record))
    }
}

impl Seed {
    fn body(&self) -> Value {
        let database = &self.database;
        let jwks: Option<Value> =
            self.jwt_jwks.as_ref().and_then(|text| serde_json::from_str(text.expose()).ok());
        json!({ "tenant": {
            "external_id": self.external_id,
            "jwt_secret": self.jwt_secret.as_ref().map(Secret::expose),
            "jwt_jwks": jwks,
            "extensions": [{ "type": "postgres_cdc_rls", "settings": {
                "region": "us-east-1",
                "db_host": database.host,
                "db_port": database.port.to_string(),
                "db_name": database.database,
                "db_user": database.user,
                "db_password": database.password.as_deref().unwrap_or_default(),
                "ssl_enforced": false,
            }}],
        }})
    }
}
