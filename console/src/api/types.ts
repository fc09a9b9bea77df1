/** Shapes of the hub's API that the console reads. Amounts are integers: tokens, or nano-units of a currency. */

export type Status = "running" | "complete" | "stopped" | "interrupted" | "error";

export interface Conversation {
  id: string;
  title: string;
  model: string;
  head_id: string | null;
  created_at_ms: number;
  updated_at_ms: number;
  running: boolean;
}

export interface Message {
  id: string;
  conversation_id: string;
  parent_id: string | null;
  role: "user" | "assistant";
  content: string;
  reasoning: string;
  status: Status;
  model: string;
  run_id: string | null;
  created_at_ms: number;
  finish_reason: string;
  error_code: string;
  error_message: string;
  siblings: string[];
}

export interface LedgerLine {
  request_id: string;
  transfer_id: string;
  at_ms: number;
  key_id: string;
  model: string;
  input_tokens: number;
  cached_tokens: number;
  output_tokens: number;
  reasoning_tokens: number;
  total_tokens: number;
  amount_nano: number;
  currency: string;
  price_version_id: string;
  finish: string;
  source: string;
  details: Record<string, string | number>;
}

export interface Turn {
  message: Message;
  ledger: LedgerLine | null;
}

export interface MessagePage {
  conversation: Conversation;
  data: Turn[];
  previous: string | null;
}

export interface ConversationPage {
  data: Conversation[];
  next: string | null;
}

export interface Run {
  id: string;
  conversation_id: string;
  message_id: string;
  model: string;
  status: Status;
  created_at_ms: number;
}

export interface RunCreated {
  run: Run;
  user_message_id: string | null;
}

export interface ModelList {
  data: { id: string }[];
  default: string | null;
}

export interface Envelope {
  limit_id: string;
  name: string;
  scope: string;
  unit: "tokens" | "requests" | "money" | "concurrency";
  window: string;
  cap: number;
  used: number;
  held: number;
  hard: boolean;
  resets_at_ms: number | null;
  forecast_at_ms: number | null;
}

export interface EnvelopeList {
  data: Envelope[];
  currency: string;
}

export interface Session {
  org_id: string;
  org: string;
  user_id: string | null;
  name: string;
  key_id: string;
  scopes: string[];
  models: string[] | null;
  expires_at_ms: number | null;
}
