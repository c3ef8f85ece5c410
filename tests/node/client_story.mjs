// Everything the JavaScript client does, against the node at argv[3] with the key argv[4]; prints what it got as JSON.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [, , module, url, key, folder] = process.argv;
const { NodeClient, NodeError } = await import(pathToFileURL(module));
const node = new NodeClient(`${url}/`, key);
const messages = [{ role: "user", content: "What flows through Bern?" }];
const settings = { max_tokens: 12, temperature: 0 };

async function read(stream) {
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return { pieces, answer: stream.answer };
}

async function refused(ask) {
  try {
    await ask();
  } catch (error) {
    if (!(error instanceof NodeError)) return { name: error.name, message: error.message };
    const { name, status, kind, param, code, retryAfterS, message } = error;
    return { name, status, kind, param, code, retryAfterS, message };
  }
  return null;
}

async function upload(alias, name) {
  const blob = async (file) => new Blob([await readFile(join(folder, name, file))]);
  const files = { weights: await blob("adapter_model.safetensors"), config: await blob("adapter_config.json") };
  return node.upload(alias, { ...files, manifest: await blob("manifest.json") });
}

const told = { models: await node.models(), adapters: await node.adapters() };
for (const model of ["base", "law"]) {
  told[model] = await node.chat(model, messages, settings);
  told[`${model} streamed`] = await read(node.streamChat(model, messages, settings));
}
const adapters = [{ model: "law", weight: 0.5 }, { model: "verse", weight: -1 }];
told.mixed = await node.complete("base", "The river", { ...settings, adapters });
told.completion = await node.complete("law", "The river", settings);
told["completion streamed"] = await read(node.streamCompletion("law", "The river", settings));

const left = node.streamChat("law", messages, { max_tokens: 200, ignore_eos: true });
for await (const piece of left) if (piece) break;
told.left = left.answer;
told["read again"] = await refused(() => read(left));

const stop = new AbortController();
const aborted = node.streamChat("law", messages, { max_tokens: 200, ignore_eos: true, signal: stop.signal });
told.aborted = await refused(async () => {
  for await (const piece of aborted) if (piece) stop.abort();
});
told["aborted answer"] = aborted.answer;

told.uploads = [await upload("script", "1"), await upload("script", "2")];
told.rollback = await node.rollback("script", told.uploads[0].sha256.slice(0, 8));
told.versions = await node.versions("script");
told.deleted = [await node.delete("script", told.uploads[1].sha256), await node.delete("script")];

const ask = (client, ...rest) => refused(() => client.chat(...rest));
told.refused = {
  nobody: await ask(node, "nobody", messages),
  stream: await refused(() => read(node.streamChat("nobody", messages))),
  field: await ask(node, "base", messages, { n: 2 }),
  large: await refused(() => node.complete("base", "a".repeat(1 << 20))),
  key: await ask(new NodeClient(url, "olk_nobody"), "base", messages),
  unkeyed: await ask(new NodeClient(url), "base", messages),
  gone: await ask(new NodeClient("http://127.0.0.1:9"), "base", messages),
};
told.usage = await node.usage();
told.bills = await node.bills(1000);
told.settlement = await node.settle();
console.log(JSON.stringify(told, (name, value) => (typeof value === "bigint" ? { bigint: String(value) } : value)));
