//! The closer look at requests in OpenAI's forms.

use serde_json::Value;

use super::{ModelRequest, Refused, RequestRules, needed, parts};

impl ModelRequest {
    pub(super) fn read_chat(&mut self, rules: &RequestRules) -> Result<(), Refused> {
        self.read_choices("n", rules)?;
        self.read_limits(&["max_tokens", "max_completion_tokens"])?;
        self.write_limit();
        self.check_tier()?;
        let messages: Vec<Value> = needed(&self.body, "messages")?;
        for message in &messages {
            parts::MESSAGE.check(message, rules)?;
            self.note_cache(&message["cache_control"])?;
            self.read_content(&message["content"], rules)?;
            if !message["audio"].is_null() {
                return Err(Refused::Feature("messages.audio".to_owned()));
            }
        }
        let tools: Vec<Value> = self.body.read("tools")?.unwrap_or_default();
        self.read_tools(&tools, rules)?;
        let modalities: Vec<String> = self.body.read("modalities")?.unwrap_or_default();
        self.media.audio_out = self.body.has("audio");
        for modality in modalities {
            match modality.as_str() {
                "text" => {}
                "audio" => self.media.audio_out = true,
                "image" => self.media.image_out = true,
                other => return Err(Refused::Feature(format!("the modality {other:?}"))),
            }
        }
        self.forbid_storing();
        self.ask_for_usage(rules)
    }

    pub(super) fn read_completion(&mut self, rules: &RequestRules) -> Result<(), Refused> {
        self.read_choices("n", rules)?;
        self.read_choices("best_of", rules)?;
        self.read_limits(&["max_tokens"])?;
        let prompt: Value = needed(&self.body, "prompt")?;
        parts::check_plain("a prompt", &prompt)?;
        // A list of texts is as many prompts, each with as many answers; a list of numbers is one.
        if let Value::Array(prompts) = &prompt
            && prompts.iter().any(|one| !one.is_number())
        {
            let count = u64::try_from(prompts.len()).unwrap_or(u64::MAX).max(1);
            let most = rules.max_choices;
            self.choices = self.choices.saturating_mul(count);
            if self.choices > most {
                return Err(Refused::TooMany {
                    name: "prompt",
                    most,
                });
            }
        }
        self.ask_for_usage(rules)
    }

    pub(super) fn read_response(&mut self, rules: &RequestRules) -> Result<(), Refused> {
        self.read_limits(&["max_output_tokens"])?;
        self.check_tier()?;
        let input: Value = needed(&self.body, "input")?;
        for item in parts::parts_of(&input)? {
            self.read_item(item, rules)?;
        }
        let tools: Vec<Value> = self.body.read("tools")?.unwrap_or_default();
        self.read_tools(&tools, rules)?;
        if let Value::Object(_) = self.body.read::<Value>("tool_choice")?.unwrap_or_default() {
            self.check_tool_choice()?;
        }
        self.forbid_storing();
        self.body.remove("stream_options");
        Ok(())
    }

    pub(super) fn read_images(&mut self, rules: &RequestRules) -> Result<(), Refused> {
        self.read_choices("n", rules)?;
        let quality = self.read_word("quality")?;
        let size = self.read_word("size")?;
        self.images = Some((self.choices.max(1), format!("{quality}/{size}")));
        Ok(())
    }

    /// A choice of the client, in small letters from here on: servers may take "HD" for "hd", and that
    /// has a price of its own.
    fn read_word(&mut self, name: &str) -> Result<String, Refused> {
        let written: Option<String> = self.body.read(name)?;
        let Some(word) = written.map(|word| word.trim().to_lowercase()) else {
            return Ok("auto".to_owned());
        };
        self.body.set(name, &word.as_str().into());
        Ok(word)
    }

    pub(super) fn read_speech(&mut self) -> Result<(), Refused> {
        let input: String = needed(&self.body, "input")?;
        let instructions: Option<String> = self.body.read("instructions")?;
        let characters = input
            .chars()
            .chain(instructions.iter().flat_map(|text| text.chars()));
        let characters = characters.count();
        self.characters = Some(u64::try_from(characters).unwrap_or(u64::MAX));
        Ok(())
    }

    pub(super) fn read_embeddings(&mut self) -> Result<(), Refused> {
        let input: Value = needed(&self.body, "input")?;
        parts::check_plain("an input", &input)
    }

    pub(super) fn read_moderations(&mut self, rules: &RequestRules) -> Result<(), Refused> {
        let input: Value = needed(&self.body, "input")?;
        let mut inputs = parts::parts_of(&input)?.iter();
        inputs.try_for_each(|part| match part {
            Value::String(_) => Ok(()),
            part => self.read_part(part, rules),
        })
    }

    /// Faster and dearer lanes have no price here; the slow and the usual ones cost no more.
    pub(super) fn check_tier(&self) -> Result<(), Refused> {
        const USUAL: [&str; 4] = ["auto", "default", "flex", "standard_only"];
        let tier: Option<String> = self.body.read("service_tier")?;
        match tier {
            Some(tier) if !USUAL.contains(&tier.as_str()) => {
                Err(Refused::Feature(format!("service_tier {tier:?}")))
            }
            _ => Ok(()),
        }
    }

    /// The content of one message: a text, or parts.
    fn read_content(&mut self, content: &Value, rules: &RequestRules) -> Result<(), Refused> {
        let mut parts = parts::parts_of(content)?.iter();
        parts.try_for_each(|part| self.read_part(part, rules))
    }

    fn read_part(&mut self, part: &Value, rules: &RequestRules) -> Result<(), Refused> {
        parts::PART.check(part, rules)?;
        self.note_cache(&part["cache_control"])?;
        if refers_to_stored(part) {
            return Err(Refused::Feature("a stored file".to_owned()));
        }
        let has = |name: &str| !part[name].is_null();
        self.media.image_in |= has("image_url");
        self.media.audio_in |= has("input_audio");
        self.media.file_in |= ["file", "file_data", "file_url"].into_iter().any(has);
        match part["type"].as_str() {
            Some("text" | "input_text" | "output_text" | "refusal" | "summary_text") => {}
            Some("reasoning_text") => {}
            Some("image_url" | "input_image") => self.media.image_in = true,
            Some("input_audio") => self.media.audio_in = true,
            Some("file" | "input_file") => self.media.file_in = true,
            other => {
                let kind = other.unwrap_or("without a type");
                return Err(Refused::Feature(format!("content of kind {kind:?}")));
            }
        }
        Ok(())
    }

    /// One item of a Responses request's input.
    fn read_item(&mut self, item: &Value, rules: &RequestRules) -> Result<(), Refused> {
        parts::ITEM.check(item, rules)?;
        let content = &item["content"];
        match &item["type"] {
            // Without a type it is a message.
            Value::Null => {}
            Value::String(kind) => match kind.as_str() {
                "message" | "reasoning" => {}
                "function_call" | "custom_tool_call" => return Ok(()),
                "function_call_output" | "custom_tool_call_output" => {
                    return self.read_content(&item["output"], rules);
                }
                other => return Err(Refused::Feature(format!("input of kind {other:?}"))),
            },
            other => return Err(Refused::Feature(format!("input of kind {other}"))),
        }
        // Without anything in it, it names what is stored.
        if content.is_null() && item["encrypted_content"].is_null() {
            return Err(Refused::Feature("a stored item".to_owned()));
        }
        self.read_content(content, rules)
    }

    /// Tools that the client runs itself are text; what runs at the provider costs more than tokens.
    fn read_tools(&mut self, tools: &[Value], rules: &RequestRules) -> Result<(), Refused> {
        for tool in tools {
            parts::TOOL.check(tool, rules)?;
            self.note_cache(&tool["cache_control"])?;
            match tool["type"].as_str() {
                Some("function" | "custom") => {}
                other => {
                    let kind = other.unwrap_or("without a type");
                    return Err(Refused::Feature(format!("the tool {kind:?}")));
                }
            }
        }
        Ok(())
    }

    fn check_tool_choice(&self) -> Result<(), Refused> {
        let choice: Value = self.body.read("tool_choice")?.unwrap_or_default();
        match choice["type"].as_str() {
            Some("function" | "custom" | "allowed_tools") => Ok(()),
            other => Err(Refused::Feature(format!(
                "tool_choice {:?}",
                other.unwrap_or_default()
            ))),
        }
    }
}

/// A file, or an answer, that lies in somebody's account.
fn refers_to_stored(part: &Value) -> bool {
    let holders = [part, &part["file"], &part["image_url"], &part["source"]];
    holders.iter().any(|holder| !holder["file_id"].is_null())
}
