// npm openai, the official SDK: makes the calls that standard input lists, one after the other.

const { readFileSync } = require("node:fs");
const OpenAI = require("openai");

const methods = {
  chat: (client, wish) => client.chat.completions.create(wish),
  completions: (client, wish) => client.completions.create(wish),
  responses: (client, wish) => client.responses.create(wish),
  embeddings: (client, wish) => client.embeddings.create(wish),
  images: (client, wish) => client.images.generate(wish),
  models: async (client) => (await client.models.list()).getPaginatedItems(),
};

async function answer(client, call) {
  try {
    const made = await methods[call.call](client, call.with);
    if (!call.with.stream) return { answer: made };
    const events = [];
    for await (const event of made) events.push(event);
    return { events };
  } catch (error) {
    if (!(error instanceof OpenAI.APIError)) throw error;
    const { status, message, code, type } = error;
    return { status, kind: error.constructor.name, text: message, code, type };
  }
}

async function main() {
  const wish = JSON.parse(readFileSync(0, "utf8"));
  const { api_key: apiKey, default_headers: defaultHeaders } = wish.credential;
  const client = new OpenAI({ baseURL: `${wish.url}/v1`, maxRetries: wish.retries ?? 0, apiKey, defaultHeaders });
  const answers = [];
  for (const call of wish.calls) answers.push(await answer(client, call));
  console.log(JSON.stringify({ answers }));
}

main();
