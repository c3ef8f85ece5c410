// What the types promise, checked by `npm run check`: node example.ts is the shortest use of the client.
import { NodeClient, NodeError, type Answer } from "./client.js";

const node = new NodeClient("http://127.0.0.1:8000", "olk_...");
const answer: Answer = await node.chat("base", [{ role: "user", content: "Hello" }], { max_tokens: 16, seed: 1 });
const fee: bigint | null = answer.feeGwei;
console.log(answer.text, answer.adapters.join(), fee);

const stream = node.streamChat("base", [{ role: "user", content: "Hello" }]);
for await (const piece of stream) console.log(piece.length);
console.log(stream.answer.promptTokens + stream.answer.completionTokens);

try {
  await node.upload("medicine", { weights: new Blob([]), config: new Blob([]) });
} catch (error) {
  if (error instanceof NodeError) console.log(error.status, error.retryAfterS);
}

// @ts-expect-error: a role that does not exist is a mistake
await node.chat("base", [{ role: "nobody", content: "Hello" }]);
