/** Client of an olsim reference node. The client keeps what proves an answer: adapter hashes and the bill. */

export type Role = "system" | "developer" | "user" | "assistant" | "tool";

export interface Message {
  role: Role;
  content: string;
}

/** Settings of the OpenAI interface; `adapters` makes an ensemble on the base model. */
export interface Settings {
  max_tokens?: number;
  temperature?: number;
  top_p?: number;
  seed?: number;
  stop?: string | string[];
  ignore_eos?: boolean;
  adapters?: { model: string; weight?: number }[];
  /** Aborts the request; the node frees its place at once. */
  signal?: AbortSignal;
}

export interface Answer {
  text: string;
  /** The name that was asked for. */
  model: string;
  /** Base and adapters that served the answer; in an ensemble with their weights. */
  fingerprint: string;
  /** Content hashes of the adapters that served the answer; empty for the base model. */
  adapters: string[];
  /** `stop`, `length` or, before the end, empty. */
  finish: string;
  promptTokens: number;
  /** The part of the prompt's tokens that cost no computation. */
  cachedTokens: number;
  completionTokens: number;
  /** The bill in gwei of OPEN; null before the end. A bigint, because amounts reach 10^18. */
  feeGwei: bigint | null;
  /** Name of the bill and of its record in the node's log; known from the start of a stream. */
  requestId: string;
}

/**
 * Pieces of text as they are generated, to be read once; `answer` is complete after them. Leaving the loop early
 * cancels the request on the node, which bills what was served until then.
 */
export interface Stream extends AsyncIterable<string> {
  readonly answer: Answer;
}

/** Files of a peft folder: adapter_model.safetensors, adapter_config.json and, if there is one, manifest.json. */
export interface AdapterFiles {
  weights: Blob;
  config: Blob;
  manifest?: Blob;
}

export interface AdapterVersion {
  alias: string;
  version: number;
  sha256: string;
  /** Name that means this version and no other. */
  model: string;
  /** Whether it is the version that the alias means. */
  served: boolean;
  /** Unix seconds. */
  created: number;
  tenant: string;
  bytes: number;
  rank: number;
  targets: string[];
  /** Who is paid when it serves. */
  manifest: Record<string, unknown> | null;
}

/** The version that an alias serves, and the hashes of all its versions. */
export interface AdapterEntry extends AdapterVersion {
  versions: string[];
}

export interface UsageSums {
  requests: number;
  tokens_in: number;
  cached_tokens: number;
  tokens_out: number;
  fee_gwei: bigint;
}

export interface Usage extends UsageSums {
  tenant: string | null;
  since_ms: number;
  /** By content hash, "base" without one, hashes joined by + for an ensemble. */
  by_adapter: Record<string, UsageSums>;
}

export interface Bill {
  request_id: string;
  key_id: string;
  /** Unix milliseconds. */
  ts: number;
  tokens_in: number;
  cached_tokens: number;
  tokens_out: number;
  fee_gwei: bigint;
  parts_gwei: Record<string, bigint>;
  payees_gwei: Record<string, bigint>;
}

/** A settlement file as it was written; its amounts are decimal strings. */
export interface Settlement {
  file: string;
  sha256: string;
  settlement: Record<string, unknown>;
}

/** Body of a refusal, or its message alone. */
export type ErrorBody = string | { message?: string; type?: string; param?: string | null; code?: string | null };

/** The node refused or failed; `status` is 0 when it could not be reached, 500 when a stream failed on its way. */
export class NodeError extends Error {
  constructor(status: number, body: ErrorBody, retryAfterS?: number | null);
  readonly status: number;
  readonly kind: string;
  readonly param: string | null;
  readonly code: string | null;
  /** Seconds after which a refusal for load or quota may be tried again. */
  readonly retryAfterS: number | null;
}

export class NodeClient {
  /** @param url where the node listens, e.g. http://127.0.0.1:8000  @param key API key, if the node wants one */
  constructor(url: string, key?: string | null);
  models(): Promise<string[]>;
  chat(model: string, messages: Message[], settings?: Settings): Promise<Answer>;
  complete(model: string, prompt: string, settings?: Settings): Promise<Answer>;
  streamChat(model: string, messages: Message[], settings?: Settings): Stream;
  streamCompletion(model: string, prompt: string, settings?: Settings): Stream;
  adapters(): Promise<AdapterEntry[]>;
  /** Versions of an alias, oldest first. */
  versions(alias: string): Promise<AdapterVersion[]>;
  upload(alias: string, files: AdapterFiles): Promise<AdapterVersion>;
  /** 8 digits of the hash are enough. */
  rollback(alias: string, sha256: string): Promise<AdapterVersion>;
  /** Deletes an alias or one of its versions; resolves to the hashes. */
  delete(alias: string, sha256?: string | null): Promise<string[]>;
  /** Of the key's tenant, of the key alone, or (administrators) of all. */
  usage(scope?: "tenant" | "key" | "all", sinceMs?: number): Promise<Usage>;
  /** Newest first. */
  bills(limit?: number): Promise<Bill[]>;
  /** Closes the epoch (administrators). */
  settle(): Promise<Settlement>;
}
