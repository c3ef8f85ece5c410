// Client of an olsim reference node on fetch alone (Node.js 18 and later). Types: client.d.ts.
// Rules: nothing is retried, NodeError.retryAfterS says when to come back; half an answer is an error, never an
// answer; amounts in gwei are BigInt, because they reach 10^18.

export class NodeError extends Error {
  constructor(status, body, retryAfterS = null) {
    const message = typeof body === "string" ? body : String(body.message ?? "");
    super(status ? `${status}: ${message}` : message);
    this.name = "NodeError";
    this.status = status;
    this.kind = body.type ?? "";
    this.param = body.param ?? null;
    this.code = body.code ?? null;
    this.retryAfterS = retryAfterS;
  }
}

export class NodeClient {
  #url;
  #headers;

  constructor(url, key = null) {
    this.#url = url.replace(/\/+$/, "");
    this.#headers = key === null ? {} : { authorization: `Bearer ${key}` };
  }

  async models() {
    return (await this.#json("GET", "/v1/models")).data.map((entry) => entry.id);
  }

  chat(model, messages, settings = {}) {
    return this.#answer("/v1/chat/completions", { model, messages }, settings);
  }

  complete(model, prompt, settings = {}) {
    return this.#answer("/v1/completions", { model, prompt }, settings);
  }

  streamChat(model, messages, settings = {}) {
    return this.#stream("/v1/chat/completions", { model, messages }, settings);
  }

  streamCompletion(model, prompt, settings = {}) {
    return this.#stream("/v1/completions", { model, prompt }, settings);
  }

  async adapters() {
    return (await this.#json("GET", "/v1/adapters")).data;
  }

  async versions(alias) {
    return (await this.#json("GET", adapterPath(alias))).data;
  }

  upload(alias, { weights, config, manifest }) {
    const form = new FormData();
    form.set("alias", alias);
    form.set("weights", weights, "adapter_model.safetensors");
    form.set("config", config, "adapter_config.json");
    if (manifest) form.set("manifest", manifest, "manifest.json");
    return this.#json("POST", "/v1/adapters", form);
  }

  rollback(alias, sha256) {
    return this.#json("POST", `${adapterPath(alias)}/rollback`, { sha256 });
  }

  async delete(alias, sha256 = null) {
    const query = sha256 === null ? "" : `?sha256=${encodeURIComponent(sha256)}`;
    return (await this.#json("DELETE", adapterPath(alias) + query)).deleted;
  }

  usage(scope = "tenant", sinceMs = 0) {
    return this.#json("GET", `/v1/usage?scope=${encodeURIComponent(scope)}&since=${sinceMs}`);
  }

  async bills(limit = 100) {
    return (await this.#json("GET", `/v1/billing?limit=${limit}`)).data;
  }

  settle() {
    return this.#json("POST", "/v1/settlements");
  }

  async #answer(path, body, { signal, ...settings }) {
    const response = await this.#send("POST", path, { ...body, ...settings }, signal);
    const document = await this.#document(response, signal);
    const choice = document.choices[0];
    const answer = emptyAnswer();
    answer.text = choice.text ?? choice.message?.content ?? "";
    answer.finish = choice.finish_reason;
    prove(answer, response);
    fill(answer, document);
    return answer;
  }

  #stream(path, body, { signal, ...settings }) {
    const answer = emptyAnswer();
    const whole = { ...body, ...settings, stream: true, stream_options: { include_usage: true } };
    return { answer, [Symbol.asyncIterator]: () => this.#pieces(path, whole, signal, answer) };
  }

  async *#pieces(path, body, signal, answer) {
    if (answer.requestId) throw new Error("a stream is read once: a second reading is a second bill");
    const response = await this.#send("POST", path, body, signal);
    prove(answer, response);
    for await (const data of serverSentEvents(this.#texts(response, signal))) {
      if (data === "[DONE]") return;
      const piece = take(answer, this.#parsed(data, response.status));
      if (piece) yield piece;
    }
    throw new NodeError(0, `the node at ${this.#url} broke the answer off; it is not whole`);
  }

  async *#texts(response, signal) {
    try {
      yield* response.body.pipeThrough(new TextDecoderStream());
    } catch (error) {
      throw this.#lost("lost the node", error, signal);
    }
  }

  async #json(method, path, body) {
    return this.#document(await this.#send(method, path, body));
  }

  async #document(response, signal) {
    const text = await response.text().catch((error) => {
      throw this.#lost("lost the node", error, signal);
    });
    return this.#parsed(text, response.status);
  }

  #parsed(text, status) {
    try {
      return parse(text);
    } catch {
      throw new NodeError(status, `${this.#url} does not answer like a node`);
    }
  }

  async #send(method, path, body, signal) {
    const plain = body !== undefined && !(body instanceof FormData);
    const headers = plain ? { ...this.#headers, "content-type": "application/json" } : this.#headers;
    const content = plain ? JSON.stringify(body) : body;
    const response = await fetch(this.#url + path, { method, headers, body: content, signal }).catch((error) => {
      throw this.#lost("cannot reach the node", error, signal);
    });
    if (!response.ok) throw await refusal(response);
    return response;
  }

  #lost(what, error, signal) {
    if (signal?.aborted) return error;
    const reason = error.cause?.message || error.cause?.code || error.message;
    return new NodeError(0, `${what} at ${this.#url}: ${reason}`);
  }
}

function adapterPath(alias) {
  return `/v1/adapters/${encodeURIComponent(alias)}`;
}

async function refusal(response) {
  const text = await response.text();
  const after = response.headers.get("retry-after") ?? ""; // a proxy may say a date, which is no promise of the node
  let body = text.slice(0, 200) || response.statusText;
  try {
    body = JSON.parse(text).error ?? body;
  } catch {
    // A proxy in between may answer with something else than JSON: its text is the message.
  }
  return new NodeError(response.status, body, /^\d+$/.test(after) ? Number(after) : null);
}

const TOKEN = /"[^"\\]*(?:\\.[^"\\]*)*"\s*:?|[{}[\]]|-?\d[\d.eE+-]*/g;

// JSON numbers lose digits above 2^53: integers under a key that ends in _gwei become marked strings before the
// document is parsed, and BigInt after. Amounts that are strings already, as in settlement files, stay as they are.
function parse(text) {
  const under = [false];
  let amount = false;
  const quoted = text.replace(TOKEN, (token) => {
    const named = amount || under.at(-1);
    amount = /_gwei"\s*:$/.test(token);
    if (token === "{" || token === "[") under.push(named);
    if (token === "}" || token === "]") under.pop();
    return named && /^\d+$/.test(token) ? `"\\u0000${token}"` : token;
  });
  return JSON.parse(quoted, (name, value) => (name.endsWith("_gwei") ? amounts(value) : value));
}

function amounts(value) {
  if (typeof value === "string" && /^\0\d+$/.test(value)) return BigInt(value.slice(1));
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, amounts(inner)]));
}

function emptyAnswer() {
  return {
    text: "",
    model: "",
    fingerprint: "",
    adapters: [],
    finish: "",
    promptTokens: 0,
    cachedTokens: 0,
    completionTokens: 0,
    feeGwei: null,
    requestId: "",
  };
}

// What the headers say before there is any text.
function prove(answer, response) {
  const named = (response.headers.get("x-olsim-adapter") ?? "").split(",").map((part) => part.trim());
  answer.adapters = named.filter((part) => part && part !== "base").map((part) => part.split("@")[0]);
  answer.requestId = response.headers.get("x-request-id") ?? "";
}

function take(answer, chunk) {
  if (chunk.error) throw new NodeError(500, chunk.error);
  let piece = "";
  for (const choice of chunk.choices) {
    piece += choice.text ?? choice.delta?.content ?? "";
    answer.finish = choice.finish_reason ?? answer.finish;
  }
  answer.text += piece;
  fill(answer, chunk);
  return piece;
}

// What a whole answer and the chunks of a stream say alike.
function fill(answer, document) {
  answer.model = document.model ?? answer.model;
  answer.fingerprint = document.system_fingerprint ?? answer.fingerprint;
  if (document.usage) {
    answer.promptTokens = document.usage.prompt_tokens;
    answer.cachedTokens = document.usage.prompt_tokens_details?.cached_tokens ?? 0;
    answer.completionTokens = document.usage.completion_tokens;
  }
  if (document.bill) {
    answer.feeGwei = document.bill.fee_gwei;
    answer.requestId = document.bill.request_id;
  }
}

// Data of each event of a text/event-stream; events end at a blank line, lines at CR, LF or both.
async function* serverSentEvents(texts) {
  let rest = "";
  let data = [];
  for await (const text of texts) {
    rest += text;
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line === "" && data.length) {
        yield data.join("\n");
        data = [];
      } else if (line.startsWith("data:")) {
        data.push(line.slice(line[5] === " " ? 6 : 5));
      }
    }
  }
}
