//! The closer look at requests in Anthropic's form.

use serde_json::Value;

use super::{ModelRequest, Refused};

impl ModelRequest {
    pub(super) fn read_messages(&mut self) -> Result<(), Refused> {
        self.read_limits(&["max_tokens"])?;
        self.check_tier()?;
        let messages: Vec<Value> = self
            .body
            .read("messages")?
            .ok_or(Refused::Missing("messages"))?;
        let system: Value = self.body.read("system")?.unwrap_or_default();
        self.writes_cache = self.body.has("cache_control");
        self.read_blocks(&system)?;
        for message in &messages {
            self.read_blocks(&message["content"])?;
        }
        let tools: Vec<Value> = self.body.read("tools")?.unwrap_or_default();
        for tool in &tools {
            self.writes_cache |= !tool["cache_control"].is_null();
            // Anthropic's own tools come with text that is not in the request, or run at the
            // provider.
            if let Some(kind) = tool["type"].as_str().filter(|kind| *kind != "custom") {
                return Err(Refused::Feature(format!("the tool {kind:?}")));
            }
        }
        Ok(())
    }

    fn read_blocks(&mut self, content: &Value) -> Result<(), Refused> {
        for block in content.as_array().into_iter().flatten() {
            self.read_block(block)?;
        }
        Ok(())
    }

    fn read_block(&mut self, block: &Value) -> Result<(), Refused> {
        self.writes_cache |= !block["cache_control"].is_null();
        if block["source"]["type"] == "file" || !block["source"]["file_id"].is_null() {
            return Err(Refused::Feature("a stored file".to_owned()));
        }
        match block["type"].as_str() {
            Some("text" | "thinking" | "redacted_thinking" | "tool_use") => Ok(()),
            Some("image") => {
                self.media.image_in = true;
                Ok(())
            }
            Some("document") => {
                self.media.file_in = true;
                Ok(())
            }
            Some("tool_result" | "search_result") => self.read_blocks(&block["content"]),
            other => {
                let kind = other.unwrap_or("without a type");
                Err(Refused::Feature(format!("content of kind {kind:?}")))
            }
        }
    }
}
