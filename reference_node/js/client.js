// Client of an olsim reference node on fetch alone (Node.js 18 and later, browsers, Deno, Bun). Types: client.d.ts.
// Rule: nothing is retried; NodeError.retryAfterS says when to come back. Amounts are BigInt, because they reach 10^18.

export class NodeError extends Error {
  constructor(status, body, retryAfterS) {
    super(status ? `${status}: ${body.message ?? ""}` : (body.message ?? ""));
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

  versions(alias) {
    return this.#json("GET", `/v1/adapters/${encodeURIComponent(alias)}`);
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
    return this.#json("POST", `/v1/adapters/${encodeURIComponent(alias)}/rollback`, { sha256 });
  }

  delete(alias) {
    return this.#json("DELETE", `/v1/adapters/${encodeURIComponent(alias)}`);
  }

  usage() {
    return this.#json("GET", "/v1/usage");
  }

  async bills() {
    return (await this.#json("GET", "/v1/billing")).data;
  }

  async #answer(path, body, { signal, ...settings }) {
    const response = await this.#send("POST", path, { ...body, ...settings }, signal);
    const document = parse(await response.text());
    const choice = document.choices[0];
    const answer = emptyAnswer();
    answer.text = choice.text ?? choice.message?.content ?? "";
    answer.finish = choice.finish_reason;
    answer.adapters = adaptersOf(response);
    fill(answer, document);
    return answer;
  }

  #stream(path, body, { signal, ...settings }) {
    const answer = emptyAnswer();
    const whole = { ...body, ...settings, stream: true, stream_options: { include_usage: true } };
    const send = () => this.#send("POST", path, whole, signal);
    return {
      answer,
      async *[Symbol.asyncIterator]() {
        const response = await send();
        answer.adapters = adaptersOf(response);
        for await (const data of serverSentEvents(response.body)) {
          if (data === "[DONE]") return;
          const chunk = parse(data);
          if (chunk.error) throw new NodeError(response.status, chunk.error, null);
          let piece = "";
          for (const choice of chunk.choices) {
            piece += choice.text ?? choice.delta?.content ?? "";
            answer.finish = choice.finish_reason ?? answer.finish;
          }
          answer.text += piece;
          fill(answer, chunk);
          if (piece) yield piece;
        }
      },
    };
  }

  async #json(method, path, body) {
    return parse(await (await this.#send(method, path, body)).text());
  }

  async #send(method, path, body, signal) {
    const plain = body !== undefined && !(body instanceof FormData);
    let response;
    try {
      response = await fetch(this.#url + path, {
        method,
        headers: plain ? { ...this.#headers, "content-type": "application/json" } : this.#headers,
        body: plain ? JSON.stringify(body) : body,
        signal,
      });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new NodeError(0, { message: `cannot reach the node at ${this.#url}: ${error.cause?.message ?? error.message}` }, null);
    }
    if (!response.ok) throw await refusal(response);
    return response;
  }
}

async function refusal(response) {
  const text = await response.text();
  const after = response.headers.get("retry-after");
  let body = { message: text.slice(0, 200) || response.statusText };
  try {
    body = JSON.parse(text).error ?? body;
  } catch {
    // A proxy in between may answer with something else than JSON: its text is the message.
  }
  return new NodeError(response.status, body, after === null ? null : Number(after));
}

// JSON numbers lose digits above 2^53, so a fee is read as text before the document is parsed.
function parse(text) {
  return JSON.parse(text.replace(/"fee_gwei"\s*:\s*(\d+)/g, '"fee_gwei":"$1"'));
}

function emptyAnswer() {
  return { text: "", model: "", fingerprint: "", adapters: [], finish: "", promptTokens: 0, completionTokens: 0, feeGwei: null, requestId: "" };
}

function adaptersOf(response) {
  const named = (response.headers.get("x-olsim-adapter") ?? "").split(",").map((part) => part.trim());
  return named.filter((part) => part && part !== "base");
}

function fill(answer, document) {
  answer.model = document.model ?? answer.model;
  answer.fingerprint = document.system_fingerprint ?? answer.fingerprint;
  if (document.usage) {
    answer.promptTokens = document.usage.prompt_tokens;
    answer.completionTokens = document.usage.completion_tokens;
  }
  if (document.bill) {
    answer.feeGwei = BigInt(document.bill.fee_gwei);
    answer.requestId = document.bill.request_id;
  }
}

// Data of each event of a text/event-stream; events end at a blank line, lines at CR, LF or both.
async function* serverSentEvents(body) {
  let rest = "";
  let data = [];
  for await (const text of body.pipeThrough(new TextDecoderStream())) {
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
