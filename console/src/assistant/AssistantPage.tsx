import { useCallback, useEffect, useRef, useState } from "react";
import { stopRun } from "../api/assistant";
import type { LedgerLine } from "../api/types";
import { BudgetPill } from "../app/BudgetPill";
import { useHub } from "../app/hub";
import { TopBar } from "../app/TopBar";
import { useT } from "../i18n";
import { Icon } from "../ui/Icon";
import { Composer, type ComposerHandle } from "./Composer";
import type { Conversations } from "./conversations";
import { EmptyState } from "./EmptyState";
import { LedgerDrawer } from "./LedgerDrawer";
import { ModelPicker } from "./ModelPicker";
import { useThread, type Question } from "./thread";
import { AnswerTurn, UserTurn } from "./Turns";
import { useStick } from "./stick";

/** One chat: its turns, the composer, and the ledger row that is looked at. */
export function AssistantPage({ conversationId, list }: { conversationId: string | null; list: Conversations }) {
  const t = useT();
  const hub = useHub();
  const thread = useThread(conversationId);
  const [line, setLine] = useState<LedgerLine | null>(null);
  const [editing, setEditing] = useState<{ parentId: string | null; text: string } | null>(null);
  const [ended, setEnded] = useState<ReadonlySet<string>>(new Set());
  const composer = useRef<ComposerHandle>(null);
  const empty = !conversationId && !thread.turns.length && thread.pending === null;
  const stick = useStick(conversationId, !empty);

  const running = thread.turns.find(
    ({ message }) => message.status === "running" && message.run_id && !ended.has(message.run_id),
  )?.message.run_id;
  const model = hub.model;
  const chatModel = thread.conversation?.model;
  const { setModel } = hub;
  const known = hub.models?.data.some((one) => one.id === chatModel) ?? false;
  useEffect(() => {
    if (chatModel && known) setModel(chatModel);
  }, [chatModel, known, setModel]);
  useEffect(() => setEditing(null), [conversationId]);
  useEffect(() => {
    document.title = thread.conversation?.title ? `${thread.conversation.title} · Token Hub` : "Token Hub";
  }, [thread.conversation?.title]);

  const ask = useCallback(
    async (question: Question): Promise<boolean> => {
      stick.toBottom();
      try {
        await thread.ask(question, model);
        list.refresh();
        return true;
      } catch (error) {
        hub.notify((error as Error).message || t("app.offline"));
        return false;
      }
    },
    [thread.ask, model, list.refresh, hub, t, stick],
  );
  const stop = useCallback(() => {
    if (running) void stopRun(running).catch((error: Error) => hub.notify(error.message || t("app.offline")));
  }, [running, hub, t]);
  const onEnded = useCallback(
    (runId: string) => {
      setEnded((now) => new Set(now).add(runId));
      list.refresh();
    },
    [list.refresh],
  );
  const onBooked = useCallback(() => hub.refreshLimits(), [hub.refreshLimits]);
  useEscape(Boolean(running), stop);

  const send = async (text: string): Promise<boolean> => {
    const sent = editing
      ? await ask({ content: text, ...(editing.parentId ? { parent_id: editing.parentId } : { root: true }) })
      : await ask({ content: text });
    if (sent) setEditing(null);
    return sent;
  };
  const edit = (parentId: string | null, text: string) => {
    setEditing({ parentId, text });
    composer.current?.take(text);
  };
  const editLast = () => {
    const last = thread.turns.findLast(({ message }) => message.role === "user")?.message;
    if (last && !running) edit(last.parent_id, last.content);
  };

  return (
    <div className="grid h-full grid-cols-[minmax(0,1fr)] grid-rows-[auto_minmax(0,1fr)_auto]">
      <TopBar end={<BudgetPill />}>
        <h1 className="sr-only">{thread.conversation?.title || t("nav.assistant")}</h1>
        <ModelPicker />
      </TopBar>
      <div className="relative min-h-0">
        <div ref={stick.scroller} className="h-full overflow-y-auto overscroll-contain [contain:layout_paint]" onScroll={stick.onScroll} tabIndex={-1}>
          <div ref={stick.content} className="mx-auto w-full max-w-[46rem] px-4 pt-6 pb-8 md:px-6">
            {empty && <EmptyState onIdea={(text) => composer.current?.take(text)} />}
            {thread.missing && <p className="py-16 text-center text-muted">{t("chat.notFound")}</p>}
            {thread.earlier && (
              <button type="button" className="button mx-auto mb-6 flex" onClick={() => void stick.keep(thread.loadEarlier)}>
                {t("chat.earlier")}
              </button>
            )}
            <ol aria-label={t("chat.thread")} className="space-y-7">
              {thread.turns.map((turn) => (
                <li key={turn.message.id}>
                  {turn.message.role === "user" ? (
                    <UserTurn
                      message={turn.message}
                      disabled={Boolean(running)}
                      onEdit={() => edit(turn.message.parent_id, turn.message.content)}
                      onVersion={(id) => void thread.show(id)}
                    />
                  ) : (
                    <AnswerTurn
                      turn={turn}
                      busy={Boolean(running)}
                      onLine={setLine}
                      onEnded={onEnded}
                      onBooked={onBooked}
                      onRegenerate={() => void ask({ regenerate_id: turn.message.id })}
                      onVersion={(id) => void thread.show(id)}
                    />
                  )}
                </li>
              ))}
              {thread.pending !== null && (
                <li className="flex justify-end">
                  <p className="max-w-[85%] rounded-2xl rounded-br-md bg-wash-2 px-4 py-2.5 text-[0.9375rem] whitespace-pre-wrap opacity-70">
                    {thread.pending}
                  </p>
                </li>
              )}
            </ol>
          </div>
        </div>
        {!stick.atBottom && (
          <button
            type="button"
            className="absolute bottom-3 left-1/2 flex h-9 w-9 -translate-x-1/2 items-center justify-center rounded-full border border-line bg-sheet text-muted shadow-lg hover:text-ink"
            aria-label={t("chat.latest")}
            onClick={stick.toBottom}
          >
            <Icon name="down" />
          </button>
        )}
      </div>
      <Composer
        ref={composer}
        draftKey={conversationId ?? "new"}
        running={Boolean(running)}
        disabled={!model}
        editing={editing !== null}
        onCancelEdit={() => {
          setEditing(null);
          composer.current?.take("");
        }}
        onSend={send}
        onStop={stop}
        onEditLast={editLast}
      />
      {line && <LedgerDrawer line={line} onClose={() => setLine(null)} />}
    </div>
  );
}

/** Esc stops the answer, unless something is open that Esc closes. */
function useEscape(active: boolean, stop: () => void): void {
  useEffect(() => {
    if (!active) return;
    const onKey = (event: KeyboardEvent) => {
      if (event.key === "Escape" && !event.isComposing && !document.querySelector("dialog[open]")) stop();
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, [active, stop]);
}
