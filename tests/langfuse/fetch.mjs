// Fetches prompts with Langfuse's own client for JavaScript and prints what it understood, as one JSON object.
//
// LANGFUSE_CLIENT=…/index.mjs node fetch.mjs URL
import { pathToFileURL } from "node:url";

const { LangfuseClient } = await import(pathToFileURL(process.env.LANGFUSE_CLIENT));
const client = new LangfuseClient({ baseUrl: process.argv[2], publicKey: "pk-unused", secretKey: "sk-unused" });

const described = ({ name, version, prompt, config, labels, tags, isFallback }) =>
  ({ name, version, prompt, config, labels, tags, isFallback });

async function raised(attempt) {
  try {
    await attempt();
  } catch (error) {
    return `${error.message}`;
  }
  return null;
}

const greeting = await client.prompt.get("greeting");
const chat = await client.prompt.get("support/first reply", { type: "chat" });
console.log(JSON.stringify({
  default: described(greeting),
  compiled: greeting.compile({ name: "Ada" }),
  by_label: described(await client.prompt.get("greeting", { label: "latest" })),
  by_version: described(await client.prompt.get("greeting", { version: 1 })),
  chat_compiled: chat.compile({ tone: "kind" }, { history: [{ role: "user", content: "Hi!" }] }),
  fallback: described(await client.prompt.get("missing", { fallback: "Hello, {{name}}." })),
  missing: await raised(() => client.prompt.get("missing")),
}));
