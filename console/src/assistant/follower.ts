import { eventsUrl } from "../api/assistant";
import type { LedgerLine, Status } from "../api/types";
import type { TextSource } from "../markdown/Markdown";

export interface RunState {
  status: Status;
  started: boolean;
  lost: boolean;
  finishReason: string;
  errorMessage: string;
  ledger: LedgerLine | null;
  /** No event will follow. */
  closed: boolean;
}

/**
 * Follows one run's log, from its first entry or from where it was: every entry has a number, so an entry that comes twice
 * counts once, and a lost connection goes on behind the last one seen.
 */
export class RunFollower {
  text = "";
  reasoning = "";
  state: RunState = {
    status: "running",
    started: false,
    lost: false,
    finishReason: "",
    errorMessage: "",
    ledger: null,
    closed: false,
  };
  readonly answer: TextSource = {
    read: () => ({ text: this.text, final: this.state.status !== "running" }),
    subscribe: (listener) => this.add(this.textListeners, listener),
  };
  private seq = 0;
  private source: EventSource | null = null;
  private retry = 0;
  private readonly textListeners = new Set<() => void>();
  private readonly stateListeners = new Set<() => void>();

  constructor(readonly runId: string) {
    this.connect();
  }

  /** Hear of changes of `state` (not of text). */
  subscribe = (listener: () => void): (() => void) => this.add(this.stateListeners, listener);

  close(): void {
    clearTimeout(this.retry);
    this.source?.close();
    this.source = null;
  }

  private add(listeners: Set<() => void>, listener: () => void): () => void {
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  private connect(): void {
    const source = new EventSource(eventsUrl(this.runId, this.seq));
    this.source = source;
    const on = (kind: string, take: (data: Record<string, unknown>) => void) =>
      source.addEventListener(kind, (event) => this.receive(event as MessageEvent<string>, take));
    on("start", () => {});
    on("text", (data) => this.grow(() => (this.text += String(data["t"]))));
    on("reasoning", (data) => this.grow(() => (this.reasoning += String(data["t"]))));
    on("snapshot", (data) =>
      this.grow(() => {
        this.text = String(data["text"]);
        this.reasoning = String(data["reasoning"]);
      }),
    );
    on("end", (data) => this.end(data));
    on("ledger", (data) => this.set({ ledger: data as unknown as LedgerLine }));
    source.addEventListener("close", () => {
      this.close();
      this.set({ closed: true });
    });
    source.onopen = () => this.set({ lost: false });
    source.onerror = () => this.reconnect();
  }

  /** EventSource gives up on some errors and repeats the first address on others; join anew behind what was seen. */
  private reconnect(): void {
    this.close();
    if (this.state.closed) return;
    this.set({ lost: this.state.status === "running" });
    this.retry = window.setTimeout(() => this.connect(), 700);
  }

  private receive(event: MessageEvent<string>, take: (data: Record<string, unknown>) => void): void {
    const seq = Number(event.lastEventId);
    if (seq <= this.seq) return;
    this.seq = seq;
    take(JSON.parse(event.data) as Record<string, unknown>);
  }

  private grow(change: () => void): void {
    change();
    if (!this.state.started) this.set({ started: true });
    for (const listener of this.textListeners) listener();
  }

  private end(data: Record<string, unknown>): void {
    this.set({
      status: data["status"] as Status,
      finishReason: String(data["finish_reason"]),
      errorMessage: String(data["error_message"]),
    });
    for (const listener of this.textListeners) listener();
  }

  private set(change: Partial<RunState>): void {
    this.state = { ...this.state, ...change };
    for (const listener of this.stateListeners) listener();
  }
}

const followers = new Map<string, RunFollower>();

/** The one follower of a run in this tab. */
export function follow(runId: string): RunFollower {
  let follower = followers.get(runId);
  if (!follower) {
    follower = new RunFollower(runId);
    followers.set(runId, follower);
  }
  return follower;
}

/** The follower of a run that was followed in this tab, if any. */
export function followed(runId: string | null): RunFollower | null {
  return (runId && followers.get(runId)) || null;
}
