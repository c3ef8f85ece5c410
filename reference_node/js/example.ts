// The client in use, and what its types promise: `npm run check` fails when a line below stops being true.
import { NodeClient, NodeError, type Answer } from "./client.js";

const node = new NodeClient("http://127.0.0.1:8000", "olk_...");
const answer: Answer = await node.chat("base", [{ role: "user", content: "Hello" }], { max_tokens: 16, seed: 1 });
const fee: bigint | null = answer.feeGwei;
console.log(answer.text, answer.adapters.join(), fee);

const stream = node.streamChat("medicine", [{ role: "user", content: "Hello" }]);
for await (const piece of stream) console.log(piece.length);
console.log(stream.answer.promptTokens + stream.answer.completionTokens);

try {
  const version = await node.upload("medicine", { weights: new Blob([]), config: new Blob([]) });
  console.log(version.sha256.slice(0, 8), await node.delete("medicine"));
} catch (error) {
  if (error instanceof NodeError) console.log(error.status, error.retryAfterS);
}

const paid: bigint = (await node.bills()).reduce((sum, bill) => sum + bill.fee_gwei, 0n);
console.log(paid === (await node.usage("key")).fee_gwei);

// @ts-expect-error: a role that does not exist is a mistake
await node.chat("base", [{ role: "nobody", content: "Hello" }]);
// @ts-expect-error: amounts are no floating-point numbers
const rounded: number = (await node.usage()).fee_gwei;
console.log(rounded);
