//! The most that a request can cost, proven from what is in it.
//!
//! A token of text is at least one byte of the body, and the JSON around a text is longer than the
//! marks that a model's template puts around it; what a provider adds for tools is bounded by a
//! constant. Pictures, sound and documents have no such bound: they may fill the model's context.

use farebox_core::Msat;

use super::{ModelRequest, Refused};
use crate::density::BYTES_PER_TOKEN;
use crate::endpoint::Endpoint;
use crate::price::{Exchange, ModelPrice, Unpriced};
use crate::usage::{Unit, Usage};

/// Tokens that a provider may put around any request.
const OVERHEAD: u64 = 64;
/// Tokens that a provider may add where there are tools.
const TOOL_OVERHEAD: u64 = 1024;

/// The most that a request can use, each part in the dearest class that it could fall into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Tokens read, and what they could be counted as.
    pub(super) input: (u64, Vec<Unit>),
    /// Tokens written, and what they could be counted as.
    pub(super) output: (u64, Vec<Unit>),
    /// What is known exactly.
    exact: Usage,
    images: Option<(u64, String)>,
}

impl ModelRequest {
    /// The most that this request can use with a model of these limits.
    ///
    /// # Errors
    /// [`Refused::NoLimit`], [`Refused::NoMediaLimit`].
    pub fn bound(&self, price: &ModelPrice) -> Result<Bound, Refused> {
        let mut exact = Usage::of_request();
        if let Some(characters) = self.characters {
            exact = exact.with(Unit::Character, characters);
        }
        Ok(Bound {
            input: (self.most_input(price)?, self.input_classes()),
            output: (self.most_output(price)?, self.output_classes(price)),
            exact,
            images: self.images.clone(),
        })
    }

    fn most_input(&self, price: &ModelPrice) -> Result<u64, Refused> {
        // Its characters are sold, and nobody tells its tokens.
        if self.endpoint == Endpoint::Speech {
            return Ok(0);
        }
        let media = self.media.image_in || self.media.audio_in || self.media.file_in;
        let tools = if self.has_tools { TOOL_OVERHEAD } else { 0 };
        let text = self.length.saturating_add(OVERHEAD + tools);
        match (media, price.context_tokens) {
            (true, Some(context)) => Ok(context),
            (true, None) => Err(Refused::NoMediaLimit),
            (false, Some(context)) => Ok(text.min(context)),
            (false, None) => Ok(text),
        }
    }

    fn most_output(&self, price: &ModelPrice) -> Result<u64, Refused> {
        if !self.endpoint.writes() {
            return Ok(0);
        }
        let most = least_of(self.output_limit, longest_answer(price));
        let one = most.ok_or(Refused::NoLimit)?;
        Ok(one.saturating_mul(self.choices))
    }

    /// Writes the listed limit of a model into the body where the client asks for more: no server
    /// has to know the list, and what is held counts on it. Where the client asks for none, the listed
    /// limit of an answer is written if prompt and answer fit into the context together, however
    /// they are counted; else the context alone bounds them at the server.
    pub fn keep_to(&mut self, price: &ModelPrice) {
        if !self.endpoint.writes() {
            return;
        }
        let limit = match self.output_limit {
            Some(limit) => longest_answer(price).filter(|longest| *longest < limit),
            None => price.max_output_tokens.filter(|most| {
                let all = self.length.saturating_add(OVERHEAD + TOOL_OVERHEAD);
                let all = all.saturating_add(*most);
                price.context_tokens.is_none_or(|context| all <= context)
            }),
        };
        if let Some(limit) = limit {
            self.lower_output(limit);
        }
    }

    fn input_classes(&self) -> Vec<Unit> {
        let mut classes = vec![Unit::Input, Unit::CachedInput];
        if self.writes_cache {
            classes.push(Unit::CacheWrite);
        }
        if self.media.image_in || self.media.file_in {
            classes.push(Unit::ImageInput);
        }
        if self.media.audio_in {
            classes.push(Unit::AudioInput);
        }
        classes
    }

    fn output_classes(&self, price: &ModelPrice) -> Vec<Unit> {
        let mut classes = vec![Unit::Output, Unit::Reasoning];
        if self.media.audio_out {
            classes.push(Unit::AudioOutput);
        }
        // A model of pictures makes them unasked.
        if self.media.image_out || price.rows.contains_key(&Unit::ImageOutput) {
            classes.push(Unit::ImageOutput);
        }
        classes
    }

    /// The most output tokens with which the request costs no more than `most`; nothing where its
    /// input alone does.
    ///
    /// # Errors
    /// [`Unpriced`].
    pub fn affordable_output(
        &self,
        bound: &Bound,
        price: &ModelPrice,
        exchange: &Exchange,
        most: Msat,
    ) -> Result<Option<u64>, Unpriced> {
        let costs = |tokens: u64| {
            let mut trial = bound.clone();
            trial.output.0 = tokens.saturating_mul(self.choices);
            trial.cost(price, exchange).map(|cost| cost <= most)
        };
        let (mut fits, mut fails) = (0, bound.output.0 / self.choices.max(1) + 1);
        if !costs(0)? {
            return Ok(None);
        }
        while fails - fits > 1 {
            let middle = fits + (fails - fits) / 2;
            if costs(middle)? {
                fits = middle;
            } else {
                fails = middle;
            }
        }
        Ok(Some(fits))
    }

    /// The prompt as it is counted where nobody tells the tokens: by its bytes, and of text by what
    /// they weigh.
    #[must_use]
    pub const fn estimated_input(&self) -> u64 {
        let has_media = self.media.image_in || self.media.audio_in || self.media.file_in;
        let surplus = if has_media { 0 } else { self.surplus };
        self.length
            .saturating_add(surplus)
            .div_ceil(BYTES_PER_TOKEN)
    }

    /// What of the usage is known from the request alone.
    #[must_use]
    pub fn known_usage(&self) -> Usage {
        let usage = Usage::of_request();
        match (self.characters, &self.images) {
            (Some(characters), _) => usage.with(Unit::Character, characters),
            (None, Some((count, _))) => usage.with(Unit::Image, *count),
            (None, None) => usage,
        }
    }

    /// Which kind of pictures is asked for, as `quality/size`.
    #[must_use]
    pub fn image_kind(&self) -> Option<&str> {
        self.images.as_ref().map(|(_, kind)| kind.as_str())
    }
}

impl Bound {
    /// What the bound costs.
    ///
    /// # Errors
    /// [`Unpriced`] where a class that could be used has no price at all.
    pub fn cost(&self, price: &ModelPrice, exchange: &Exchange) -> Result<Msat, Unpriced> {
        let mut usage = self.exact;
        let is_spoken = usage.get(Unit::Character) > 0;
        if is_spoken
            && !price.is_free
            && price.row(Unit::Character).is_some_and(|row| row.is_zero())
        {
            // What else it costs, nobody tells.
            return Err(Unpriced::Unit(Unit::Character));
        }
        for (count, classes) in [&self.input, &self.output] {
            if *count > 0 {
                let dearest = dearest(price, classes)?;
                usage = usage.with(dearest, *count);
            }
        }
        if let Some((count, kind)) = &self.images {
            if price.prices_images() {
                let usage = usage.with(Unit::Image, *count);
                return price.for_image(kind)?.cost(&usage, exchange);
            }
            // Priced by the tokens of the picture, which the model's limit bounds.
            let most = price.max_output_tokens.ok_or(Unpriced::Unit(Unit::Image))?;
            usage = usage.with(Unit::ImageOutput, most.saturating_mul(*count));
        }
        price.cost(&usage, exchange)
    }
}

/// The most tokens that one answer of a model can have, as the list knows it.
fn longest_answer(price: &ModelPrice) -> Option<u64> {
    least_of(price.max_output_tokens, price.context_tokens)
}

fn least_of(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn dearest(price: &ModelPrice, classes: &[Unit]) -> Result<Unit, Unpriced> {
    let first = classes.first().copied().unwrap_or(Unit::Input);
    let mut dearest: Option<(Unit, crate::Decimal)> = None;
    for class in classes {
        let row = price.row(*class).ok_or(Unpriced::Unit(*class));
        let row = match row {
            Err(_) if price.is_free => continue,
            row => row?,
        };
        if dearest.is_none_or(|(_, known)| row.exceeds(known)) {
            dearest = Some((*class, row));
        }
    }
    Ok(dearest.map_or(first, |(class, _)| class))
}
