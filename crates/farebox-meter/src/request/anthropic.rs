//! The closer look at requests in Anthropic's form.

use serde_json::Value;

use super::{ModelRequest, Refused, RequestRules, needed, parts};

impl ModelRequest {
    pub(super) fn read_messages(&mut self, rules: &RequestRules) -> Result<(), Refused> {
        self.read_limits(&["max_tokens"])?;
        self.check_tier()?;
        self.check_context()?;
        let messages: Vec<Value> = needed(&self.body, "messages")?;
        let system: Value = self.body.read("system")?.unwrap_or_default();
        let control: Value = self.body.read("cache_control")?.unwrap_or_default();
        self.note_cache(&control)?;
        self.read_blocks(&system, rules)?;
        for message in &messages {
            parts::TURN.check(message, rules)?;
            self.note_cache(&message["cache_control"])?;
            self.read_blocks(&message["content"], rules)?;
        }
        let tools: Vec<Value> = self.body.read("tools")?.unwrap_or_default();
        for tool in &tools {
            parts::TOOL.check(tool, rules)?;
            self.note_cache(&tool["cache_control"])?;
            // Anthropic's own tools come with text that is not in the request, or run at the
            // provider.
            let kind = &tool["type"];
            if !kind.is_null() && kind != "custom" {
                return Err(Refused::Feature(format!("the tool {kind}")));
            }
        }
        Ok(())
    }

    /// What is cleared out of the context is not read; what is summarised is another call of a model.
    fn check_context(&self) -> Result<(), Refused> {
        let management: Value = self.body.read("context_management")?.unwrap_or_default();
        let edits = management["edits"].as_array();
        for edit in edits.into_iter().flatten() {
            let kind = edit["type"].as_str().unwrap_or("without a type");
            if !kind.starts_with("clear_") {
                return Err(Refused::Feature(format!(
                    "context_management with {kind:?}"
                )));
            }
        }
        Ok(())
    }

    /// What is written to the cache has one price, that of the usual five minutes.
    pub(super) fn note_cache(&mut self, control: &Value) -> Result<(), Refused> {
        self.writes_cache |= !control.is_null();
        match &control["ttl"] {
            Value::Null => Ok(()),
            ttl if ttl == "5m" => Ok(()),
            ttl => Err(Refused::Feature(format!("cache_control with ttl {ttl}"))),
        }
    }

    fn read_blocks(&mut self, content: &Value, rules: &RequestRules) -> Result<(), Refused> {
        let mut blocks = parts::parts_of(content)?.iter();
        blocks.try_for_each(|block| self.read_block(block, rules))
    }

    fn read_block(&mut self, block: &Value, rules: &RequestRules) -> Result<(), Refused> {
        parts::BLOCK.check(block, rules)?;
        self.note_cache(&block["cache_control"])?;
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
            Some("tool_result" | "search_result") => self.read_blocks(&block["content"], rules),
            other => {
                let kind = other.unwrap_or("without a type");
                Err(Refused::Feature(format!("content of kind {kind:?}")))
            }
        }
    }
}
