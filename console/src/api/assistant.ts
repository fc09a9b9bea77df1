import { call } from "./client";
import type {
  Conversation,
  ConversationPage,
  EnvelopeList,
  MessagePage,
  ModelList,
  Run,
  RunCreated,
  LedgerLine,
} from "./types";

const BASE = "/api/assistant";
const q = encodeURIComponent;

export const models = () => call<ModelList>("GET", `${BASE}/models`);
export const limits = () => call<EnvelopeList>("GET", `${BASE}/limits`);
export const conversations = (search: string, after: string) =>
  call<ConversationPage>("GET", `${BASE}/conversations?search=${q(search)}&after=${q(after)}`);
export const createConversation = (model: string) => call<Conversation>("POST", `${BASE}/conversations`, { model });
export const messages = (id: string, before?: string) =>
  call<MessagePage>("GET", `${BASE}/conversations/${id}${before ? `?before=${q(before)}` : ""}`);
export const changeConversation = (id: string, change: { title?: string; model?: string; head_id?: string }) =>
  call<Conversation>("PATCH", `${BASE}/conversations/${id}`, change);
export const deleteConversation = (id: string) => call<null>("DELETE", `${BASE}/conversations/${id}`);
export const ask = (
  id: string,
  question: { content?: string; parent_id?: string; root?: boolean; regenerate_id?: string; model?: string },
) => call<RunCreated>("POST", `${BASE}/conversations/${id}/runs`, question);
export const stopRun = (id: string) => call<Run>("POST", `${BASE}/runs/${id}/stop`);
export const ledgerLine = (runId: string) => call<LedgerLine | null>("GET", `${BASE}/runs/${runId}/ledger`);
export const eventsUrl = (runId: string, after: number) => `${BASE}/runs/${runId}/events?after=${after}`;
