//! Making, changing and removing the indices of the target.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use slipstream_model::IndexName;
use slipstream_model::settings::Settings;

use crate::client::{Call, Cluster};
use crate::error::{ErrorKind, Result};
use crate::path;

/// The priority of a template that counts before all others: as high as every JSON parser reads exactly, which nobody else asks for.
const BEFORE_ALL: u64 = 9_007_199_254_740_991;

/// What a change of metadata answers.
#[derive(Deserialize)]
struct Acknowledged {
    #[serde(default)]
    acknowledged: bool,
    #[serde(default)]
    indices: Map<String, Value>,
}

impl Cluster {
    /// Creates an index and waits for its primaries. Unlike what is written to it, this is done once: an index that
    /// exists is [`ErrorKind::Conflict`].
    pub async fn create_index(
        &self,
        index: &IndexName,
        settings: &Settings,
        mapping: &RawValue,
        aliases: &Map<String, Value>,
    ) -> Result<()> {
        #[derive(Serialize)]
        struct Body<'a> {
            settings: &'a Settings,
            mappings: &'a RawValue,
            aliases: &'a Map<String, Value>,
        }
        let body = self.to_json(&Body {
            settings,
            mappings: mapping,
            aliases,
        })?;
        let call = Call::put(format!("/{}", self.segment(index)?), "wait_for_active_shards=1");
        self.acknowledged(call.heavy().body(body, "application/json"))
            .await
            .map(drop)
    }

    /// Makes an index template, named `template`, that is the only one to count when the index of that name is created, and gives it
    /// nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Forbidden`] where the caller may not manage templates, [`ErrorKind::BadRequest`] and the like where the engine has
    /// none of this kind (before Elasticsearch 7.8).
    pub async fn put_empty_template(&self, template: &str, index: &IndexName) -> Result<()> {
        // Only to refuse a name that means more than one index.
        self.segment(index)?;
        let body =
            self.to_json(&json!({ "index_patterns": [index], "priority": BEFORE_ALL, "template": {} }))?;
        let call = Call::put(format!("/_index_template/{}", path::encode(template)), "");
        self.acknowledged(call.heavy().body(body, "application/json"))
            .await
            .map(drop)
    }

    /// Removes an index template. Nothing happens if there is none.
    pub async fn remove_template(&self, template: &str) -> Result<()> {
        let path = format!("/_index_template/{}", path::encode(template));
        self.gone(&Call::new(reqwest::Method::DELETE, path, "").heavy())
            .await
    }

    /// Adds to the mapping of an index.
    pub async fn put_mapping(&self, index: &IndexName, mapping: &RawValue) -> Result<()> {
        let body = self.to_json(mapping)?;
        let call = Call::put(format!("/{}/_mapping", self.segment(index)?), "");
        self.acknowledged(call.heavy().body(body, "application/json"))
            .await
            .map(drop)
    }

    /// Changes settings; `Null` puts the engine's default back. Nothing is sent if there is nothing to change.
    pub async fn put_settings(&self, index: &IndexName, settings: &Settings) -> Result<()> {
        if settings.is_empty() {
            return Ok(());
        }
        let body = self.to_json(settings)?;
        let call = Call::put(format!("/{}/_settings", self.segment(index)?), "");
        self.acknowledged(call.heavy().body(body, "application/json"))
            .await
            .map(drop)
    }

    /// Adds (or replaces) and removes aliases in one step. Nothing is sent if there is nothing to change.
    pub async fn update_aliases(
        &self,
        index: &IndexName,
        add: &Map<String, Value>,
        remove: &[String],
    ) -> Result<()> {
        if add.is_empty() && remove.is_empty() {
            return Ok(());
        }
        // Only to refuse a name that means more than one index.
        self.segment(index)?;
        let mut actions: Vec<Value> = remove
            .iter()
            .map(|alias| json!({ "remove": { "index": index, "alias": alias } }))
            .collect();
        for (alias, definition) in add {
            let mut action = definition.as_object().cloned().unwrap_or_default();
            action.insert("index".into(), json!(index));
            action.insert("alias".into(), json!(alias));
            actions.push(json!({ "add": action }));
        }
        let body = self.to_json(&json!({ "actions": actions }))?;
        self.acknowledged(Call::post("/_aliases", "").heavy().body(body, "application/json"))
            .await
            .map(drop)
    }

    /// Closes an index and makes sure that it is closed.
    pub async fn close_index(&self, index: &IndexName) -> Result<()> {
        let call = Call::post(format!("/{}/_close", self.segment(index)?), "").heavy();
        let answer = self.acknowledged(call.clone()).await?;
        // Releases before 7.2 do not tell.
        match answer
            .indices
            .get(index.as_str())
            .and_then(|told| told.get("closed"))
            .and_then(Value::as_bool)
        {
            Some(false) => {
                let reason = format!("[{index}] could not be closed: a shard of it is not ready");
                Err(self.error(ErrorKind::Incomplete, &call).with_reason(reason))
            }
            _ => Ok(()),
        }
    }

    /// Opens an index and waits for its primaries.
    pub async fn open_index(&self, index: &IndexName) -> Result<()> {
        let call = Call::post(
            format!("/{}/_open", self.segment(index)?),
            "wait_for_active_shards=1",
        );
        self.acknowledged(call.heavy()).await.map(drop)
    }

    /// Deletes an index.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none; [`ErrorKind::BadRequest`] if the name is an alias.
    pub async fn delete_index(&self, index: &IndexName) -> Result<()> {
        let call = Call::new(reqwest::Method::DELETE, format!("/{}", self.segment(index)?), "");
        self.acknowledged(call.heavy()).await.map(drop)
    }

    /// Whether the name is taken, by an index or an alias.
    pub async fn exists(&self, index: &IndexName) -> Result<bool> {
        let path = format!("/{}", self.segment(index)?);
        let call = Call::new(reqwest::Method::HEAD, path.as_str(), "");
        let answer = self.send(&call).await?;
        match answer.status {
            200..=299 => Ok(true),
            404 => Ok(false),
            // Without a body it is not said which privilege is missing: the same question again, for the words.
            403 => self
                .ok(&Call::get(path, "filter_path=*.settings.index.uuid"))
                .await
                .map(|_| true),
            _ => Err(self.refused(&call, &answer)),
        }
    }

    /// A change that all nodes have taken note of.
    async fn acknowledged(&self, call: Call) -> Result<Acknowledged> {
        let answer: Acknowledged = self.json(&call).await?;
        if answer.acknowledged {
            return Ok(answer);
        }
        let reason = "the change was made but not all nodes confirmed it in time";
        Err(self.error(ErrorKind::Incomplete, &call).with_reason(reason))
    }
}
