import { useEffect, useMemo, useState, useSyncExternalStore } from "react";
import type { LedgerLine, Message, Turn } from "../api/types";
import { useHub } from "../app/hub";
import { useT } from "../i18n";
import { fixed, Markdown } from "../markdown/Markdown";
import { Icon } from "../ui/Icon";
import { follow, followed, type RunFollower, type RunState } from "./follower";
import { Receipt, useLine } from "./Receipt";
import { useSpoken } from "./spoken";

/** What a person asked. */
export function UserTurn({
  message,
  disabled,
  onEdit,
  onVersion,
}: {
  message: Message;
  disabled: boolean;
  onEdit: () => void;
  onVersion: (id: string) => void;
}) {
  const t = useT();
  return (
    <article aria-label={t("turn.you")} className="group flex flex-col items-end">
      <p className="max-w-[85%] rounded-2xl rounded-br-md bg-wash-2 px-4 py-2.5 text-[0.9375rem] [overflow-wrap:anywhere] whitespace-pre-wrap">
        {message.content}
      </p>
      <div className="mt-1 -mb-5 flex min-h-8 items-center opacity-0 transition-opacity duration-100 group-focus-within:opacity-100 group-hover:opacity-100 [@media(hover:none)]:opacity-100">
        <Versions message={message} disabled={disabled} onVersion={onVersion} />
        <button type="button" className="icon-button" aria-label={t("turn.edit")} title={t("turn.edit")} disabled={disabled} onClick={onEdit}>
          <Icon name="edit" />
        </button>
      </div>
    </article>
  );
}

const IDLE: RunState = { status: "complete", started: true, lost: false, finishReason: "", errorMessage: "", ledger: null, closed: true };
const never = () => () => {};

/** What a model answered: the text, how it ended, its line in the ledger. */
export function AnswerTurn({
  turn,
  busy,
  onLine,
  onEnded,
  onBooked,
  onRegenerate,
  onVersion,
}: {
  turn: Turn;
  busy: boolean;
  onLine: (line: LedgerLine) => void;
  onEnded: (runId: string) => void;
  onBooked: () => void;
  onRegenerate: () => void;
  onVersion: (id: string) => void;
}) {
  const t = useT();
  const { message } = turn;
  const runId = message.run_id;
  const follower: RunFollower | null =
    message.status === "running" && runId ? follow(runId) : followed(runId);
  const state = useSyncExternalStore(follower?.subscribe ?? never, () => follower?.state ?? IDLE);
  const still = useMemo(() => fixed(message.content), [message.content]);
  const status = follower ? state.status : message.status;
  const running = status === "running";
  const reason = follower ? state.errorMessage : message.error_message;
  const cut = (follower ? state.finishReason : message.finish_reason) === "length";
  const asked = useLine(turn.ledger, runId, !follower);
  const line = follower ? (state.ledger ?? turn.ledger) : asked.line;
  const waiting = follower ? !state.closed : asked.waiting;
  useSpoken(follower, state);
  useEffect(() => {
    if (follower && !running && runId) onEnded(runId);
  }, [follower, running, runId, onEnded]);
  const booked = follower ? state.ledger : null;
  useEffect(() => {
    if (booked) onBooked();
  }, [booked, onBooked]);

  return (
    <article aria-label={message.model} aria-busy={running} className="group" data-status={status} data-run={runId}>
      <Reasoning follower={follower} text={message.reasoning} />
      <Markdown source={follower ? follower.answer : still} />
      {running && !state.started && <Waiting model={message.model} since={message.created_at_ms} />}
      {running && state.lost && <p className="mt-2 text-[0.8125rem] text-warn">{t("turn.lost")}</p>}
      {status === "error" && (
        <p role="alert" className="mt-3 rounded-lg bg-danger-wash px-3 py-2 text-danger">
          {reason}
        </p>
      )}
      {!running && (
        <footer className="mt-3 border-t border-line pt-1">
          <div className="flex items-center gap-2">
            <Receipt line={line} waiting={waiting} onOpen={onLine} />
          </div>
          <div className="-ml-1.5 flex min-h-8 items-center gap-0.5">
            <CopyAnswer read={() => follower?.text ?? message.content} />
            <button type="button" className="icon-button" aria-label={t("turn.regenerate")} title={t("turn.regenerate")} disabled={busy} onClick={onRegenerate}>
              <Icon name="redo" />
            </button>
            <Versions message={message} disabled={busy} onVersion={onVersion} />
            <Ending status={status} cut={cut} />
          </div>
        </footer>
      )}
    </article>
  );
}

function Ending({ status, cut }: { status: Message["status"]; cut: boolean }) {
  const t = useT();
  const text =
    status === "stopped" ? t("turn.stopped")
    : status === "interrupted" ? t("turn.interrupted")
    : status === "error" ? t("turn.error")
    : cut ? t("turn.length")
    : "";
  if (!text) return null;
  return (
    <span className="ml-auto rounded-full bg-warn-wash px-2.5 py-0.5 text-[0.75rem] text-warn" data-ending={status}>
      {text}
    </span>
  );
}

function Versions({ message, disabled, onVersion }: { message: Message; disabled: boolean; onVersion: (id: string) => void }) {
  const t = useT();
  const total = message.siblings.length;
  if (total < 2) return null;
  const position = message.siblings.indexOf(message.id);
  const to = (step: number) => {
    const id = message.siblings[position + step];
    if (id) onVersion(id);
  };
  return (
    <span className="num flex items-center text-[0.8125rem] text-muted">
      <button type="button" className="icon-button" aria-label={t("turn.previous")} disabled={disabled || position <= 0} onClick={() => to(-1)}>
        <Icon name="left" size={16} />
      </button>
      <span aria-label={t("turn.version", { n: position + 1, total })} role="img">
        {position + 1}/{total}
      </span>
      <button type="button" className="icon-button" aria-label={t("turn.next")} disabled={disabled || position >= total - 1} onClick={() => to(1)}>
        <Icon name="right" size={16} />
      </button>
    </span>
  );
}

function CopyAnswer({ read }: { read: () => string }) {
  const t = useT();
  const hub = useHub();
  const [copied, setCopied] = useState(false);
  return (
    <button
      type="button"
      className="icon-button"
      aria-label={t("turn.copy")}
      title={t("turn.copy")}
      onClick={() => {
        navigator.clipboard.writeText(read()).then(
          () => {
            setCopied(true);
            setTimeout(() => setCopied(false), 1500);
          },
          (error: Error) => hub.notify(error.message),
        );
      }}
    >
      <Icon name={copied ? "check" : "copy"} />
    </button>
  );
}

/** After a second without a token: what is waited for, and how long. */
function Waiting({ model, since }: { model: string; since: number }) {
  const t = useT();
  const [seconds, setSeconds] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => setSeconds(Math.max(0, Math.round((Date.now() - since) / 1000))), 500);
    return () => clearInterval(timer);
  }, [since]);
  return (
    <p className="flex items-center gap-2.5 py-1 text-muted">
      <span className="pulse h-2.5 w-2.5 rounded-full bg-accent" aria-hidden="true" />
      <span className={seconds < 1 ? "sr-only" : ""}>
        {t("turn.waiting", { model })} · <span className="num">{t("turn.seconds", { n: seconds })}</span>
      </span>
    </p>
  );
}

function Reasoning({ follower, text }: { follower: RunFollower | null; text: string }) {
  const t = useT();
  const [open, setOpen] = useState(false);
  const [, tick] = useState(0);
  useEffect(() => (follower && open ? follower.answer.subscribe(() => tick((now) => now + 1)) : undefined), [follower, open]);
  const shown = follower?.reasoning || text;
  if (!shown) return null;
  return (
    <details className="mb-3 text-muted" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary className="w-fit rounded px-1 text-[0.8125rem]">{t("turn.reasoning")}</summary>
      {open && <p className="mt-2 border-l-2 border-line pl-3 text-[0.8125rem] whitespace-pre-wrap">{shown}</p>}
    </details>
  );
}
