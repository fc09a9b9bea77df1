import { call, HubError } from "./client";

interface Envelope<T> {
  ok: boolean;
  data: T | null;
  error: { code: string; message: string; status: number } | null;
}

/** Run one command through the hub's one door. Throws HubError with the hub's own sentence. */
export async function command<T>(name: string, args: Record<string, unknown> = {}): Promise<T> {
  const envelope = await call<Envelope<T>>("POST", `/api/commands/${name}`, args);
  if (!envelope.ok || envelope.data === null) {
    const error = envelope.error;
    throw new HubError(error?.message ?? name, error?.status ?? 500, error?.code ?? "");
  }
  return envelope.data;
}

export interface UsageRow {
  group: string;
  requests: number;
  prompt_tokens: number;
  cache_read_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  amount_nano: number;
}

export interface UsageReport {
  items: UsageRow[];
  total: UsageRow;
}

export interface StatementItem {
  request_id: string;
  at: string;
  model: string;
  app: string;
  key_id: string;
  prompt_tokens: number;
  cache_read_tokens: number;
  completion_tokens: number;
  reasoning_tokens: number;
  total_tokens: number;
  applied_tokens: number | null;
  discarded_tokens: number | null;
  amount_nano: number;
  /** The amount with its currency, such as "0.00019035 USD". */
  amount: string;
  price_version_id: string;
  source: string;
  finish: string;
  latency_ms: number;
  ttft_ms: number;
  deployment_id: string;
  transfer_id: string;
  transfer: number;
  transfer_hash: string;
  corrected_by: string | null;
}

export interface Page<T> {
  items: T[];
  next_cursor: string | null;
}

export interface ApiKey {
  id: string;
  name: string;
  prefix: string;
  owner: string;
  scopes: string[];
  created_at_ms: number;
  expires_at_ms: number | null;
  status: string;
}
