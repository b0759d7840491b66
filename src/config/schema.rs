//! The JSON schema of the file, for editors.

use super::raw::RawConfig;

/// The schema as text. The same program always gives the same text.
pub fn schema() -> String {
    let schema = schemars::schema_for!(RawConfig);
    // A schema is made of texts, numbers, lists and maps with text keys, all of which JSON can hold.
    serde_json::to_string_pretty(&schema).unwrap_or_default()
}
