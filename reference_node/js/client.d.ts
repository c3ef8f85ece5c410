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
  adapters?: { model: string; weight: number }[];
  /** Aborts the request; the node frees its place at once. */
  signal?: AbortSignal;
}

export interface Answer {
  text: string;
  model: string;
  fingerprint: string;
  /** Content hashes of the adapters that served the answer; empty for the base model. */
  adapters: string[];
  finish: string;
  promptTokens: number;
  completionTokens: number;
  /** The bill in gwei of OPEN; null where the node keeps none. A bigint, because amounts reach 10^18. */
  feeGwei: bigint | null;
  requestId: string;
}

/** Pieces of text as they are generated; `answer` is complete once they are read. */
export interface Stream extends AsyncIterable<string> {
  readonly answer: Answer;
}

export interface AdapterFiles {
  weights: Blob;
  config: Blob;
  manifest?: Blob;
}

/** The node refused or failed; `status` is 0 when it could not be reached. */
export class NodeError extends Error {
  constructor(status: number, body: { message?: string; type?: string; param?: string | null; code?: string | null }, retryAfterS: number | null);
  readonly status: number;
  readonly kind: string;
  readonly param: string | null;
  readonly code: string | null;
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
  adapters(): Promise<Record<string, unknown>[]>;
  versions(alias: string): Promise<Record<string, unknown>>;
  upload(alias: string, files: AdapterFiles): Promise<Record<string, unknown>>;
  rollback(alias: string, sha256: string): Promise<Record<string, unknown>>;
  delete(alias: string): Promise<Record<string, unknown>>;
  usage(): Promise<Record<string, unknown>>;
  bills(): Promise<Record<string, unknown>[]>;
}
