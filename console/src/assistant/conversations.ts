import { useCallback, useEffect, useState } from "react";
import { conversations as load } from "../api/assistant";
import type { Conversation } from "../api/types";

export interface Conversations {
  items: Conversation[];
  loaded: boolean;
  more: boolean;
  search: string;
  setSearch: (text: string) => void;
  loadMore: () => void;
  refresh: () => void;
}

/** The caller's chats, newest first, a page at a time. */
export function useConversations(): Conversations {
  const [items, setItems] = useState<Conversation[]>([]);
  const [next, setNext] = useState<string | null>(null);
  const [loaded, setLoaded] = useState(false);
  const [search, setSearch] = useState("");
  const [version, setVersion] = useState(0);
  const refresh = useCallback(() => setVersion((now) => now + 1), []);

  useEffect(() => {
    let stale = false;
    const timer = setTimeout(
      () => {
        load(search, "").then(
          (page) => {
            if (stale) return;
            setItems(page.data);
            setNext(page.next);
            setLoaded(true);
          },
          () => setLoaded(true),
        );
      },
      search ? 200 : 0,
    );
    return () => {
      stale = true;
      clearTimeout(timer);
    };
  }, [search, version]);

  useEffect(() => {
    addEventListener("focus", refresh);
    return () => removeEventListener("focus", refresh);
  }, [refresh]);

  const loadMore = useCallback(() => {
    if (!next) return;
    void load(search, next).then((page) => {
      setItems((now) => [...now, ...page.data.filter((one) => !now.some((old) => old.id === one.id))]);
      setNext(page.next);
    });
  }, [next, search]);

  return { items, loaded, more: next !== null, search, setSearch, loadMore, refresh };
}
