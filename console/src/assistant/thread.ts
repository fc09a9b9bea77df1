import { useCallback, useEffect, useRef, useState } from "react";
import * as api from "../api/assistant";
import { HubError } from "../api/client";
import type { Conversation, MessagePage, Turn } from "../api/types";
import { navigate } from "../app/router";

export interface Question {
  content?: string;
  parent_id?: string;
  root?: boolean;
  regenerate_id?: string;
}

export interface Thread {
  conversation: Conversation | null;
  turns: Turn[];
  /** There are earlier messages than those loaded. */
  earlier: boolean;
  /** What was sent and is not stored yet. */
  pending: string | null;
  missing: boolean;
  loadEarlier: () => Promise<void>;
  ask: (question: Question, model: string) => Promise<void>;
  show: (messageId: string) => Promise<void>;
  reload: () => Promise<void>;
}

const NOTHING: { conversation: Conversation | null; turns: Turn[]; previous: string | null } = {
  conversation: null,
  turns: [],
  previous: null,
};

/** The shown branch of one chat. The server holds the truth; this loads it, 40 messages at a time. */
export function useThread(conversationId: string | null): Thread {
  const [loaded, setLoaded] = useState(NOTHING);
  const [pending, setPending] = useState<string | null>(null);
  const [missing, setMissing] = useState(false);
  const shown = useRef(conversationId);
  shown.current = conversationId;

  const take = useCallback((page: MessagePage, keepEarlier: boolean) => {
    if (page.conversation.id !== shown.current) return;
    setLoaded((now) => (keepEarlier ? merge(now, page) : page2state(page)));
    setMissing(false);
  }, []);

  const reload = useCallback(async () => {
    const id = shown.current;
    if (!id) return;
    try {
      take(await api.messages(id), true);
    } catch (error) {
      if (error instanceof HubError && error.status === 404 && shown.current === id) setMissing(true);
    }
  }, [take]);

  useEffect(() => {
    setMissing(false);
    setLoaded((now) => (now.conversation?.id === conversationId ? now : NOTHING));
    void reload();
  }, [conversationId, reload]);

  useEffect(() => {
    const look = () => void reload();
    addEventListener("focus", look);
    return () => removeEventListener("focus", look);
  }, [reload]);

  const loadEarlier = useCallback(async () => {
    const id = shown.current;
    if (!id || !loaded.previous) return;
    const page = await api.messages(id, loaded.previous);
    if (id !== shown.current) return;
    setLoaded((now) => ({ ...now, turns: [...page.data, ...now.turns], previous: page.previous }));
  }, [loaded.previous]);

  const ask = useCallback(
    async (question: Question, model: string) => {
      setPending(question.content ?? null);
      try {
        let id = shown.current;
        if (!id) id = (await api.createConversation(model)).id;
        await api.ask(id, { ...question, model });
        const page = await api.messages(id);
        if (id !== shown.current) {
          setLoaded(page2state(page));
          shown.current = id;
          navigate(`/c/${id}`);
        } else {
          take(page, !question.regenerate_id && !question.parent_id && !question.root);
        }
      } finally {
        setPending(null);
      }
    },
    [take],
  );

  const show = useCallback(
    async (messageId: string) => {
      const id = shown.current;
      if (!id) return;
      await api.changeConversation(id, { head_id: messageId });
      take(await api.messages(id), false);
    },
    [take],
  );

  return {
    conversation: loaded.conversation,
    turns: loaded.turns,
    earlier: loaded.previous !== null,
    pending,
    missing,
    loadEarlier,
    ask,
    show,
    reload,
  };
}

function page2state(page: MessagePage): typeof NOTHING {
  return { conversation: page.conversation, turns: page.data, previous: page.previous };
}

/** The new page, behind earlier pages that were loaded and still lead to it. */
function merge(now: typeof NOTHING, page: MessagePage): typeof NOTHING {
  const first = page.data[0]?.message.id;
  const position = now.turns.findIndex((turn) => turn.message.id === first);
  if (now.conversation?.id !== page.conversation.id || position <= 0) return page2state(page);
  return {
    conversation: page.conversation,
    turns: [...now.turns.slice(0, position), ...page.data],
    previous: now.previous,
  };
}
