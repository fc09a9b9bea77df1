import { useEffect, useRef, useState, type FormEvent } from "react";
import { changeConversation, deleteConversation } from "../api/assistant";
import type { Conversation } from "../api/types";
import { useHub } from "../app/hub";
import { navigate } from "../app/router";
import { useT, type Key } from "../i18n";
import { Icon } from "../ui/Icon";
import { Confirm } from "../ui/Overlay";
import type { Conversations } from "./conversations";

/** The left list: new chat, search, chats by age; each can be renamed and deleted. */
export function ConversationList({
  list,
  currentId,
  onNavigate,
}: {
  list: Conversations;
  currentId: string | null;
  onNavigate: () => void;
}) {
  const t = useT();
  const go = (path: string) => {
    navigate(path);
    onNavigate();
  };
  return (
    <div className="flex min-h-0 flex-1 flex-col">
      <div className="flex gap-2 p-3">
        <label className="relative min-w-0 flex-1">
          <span className="sr-only">{t("chat.search")}</span>
          <span className="pointer-events-none absolute inset-y-0 left-2.5 flex items-center text-muted">
            <Icon name="search" size={16} />
          </span>
          <input
            type="search"
            className="field !border-line pl-8"
            placeholder={t("chat.search")}
            value={list.search}
            onChange={(event) => list.setSearch(event.target.value)}
          />
        </label>
        <button type="button" className="button w-9 flex-none !px-0" aria-label={t("chat.new")} title={t("chat.new")} onClick={() => go("/")}>
          <Icon name="plus" />
        </button>
      </div>
      <nav aria-label={t("chat.list")} className="min-h-0 flex-1 overflow-y-auto px-2 pb-3">
        {groups(list.items).map(({ name, items }) => (
          <section key={name} aria-label={t(name)}>
            <h3 className="px-2 pt-3 pb-1 text-[0.75rem] font-semibold text-muted">{t(name)}</h3>
            <ul>
              {items.map((item) => (
                <Item key={item.id} item={item} current={item.id === currentId} onOpen={() => go(`/c/${item.id}`)} refresh={list.refresh} />
              ))}
            </ul>
          </section>
        ))}
        {list.loaded && !list.items.length && (
          <p className="px-2 py-3 text-muted">{t(list.search ? "chat.noneFound" : "chat.none")}</p>
        )}
        {list.more && (
          <button type="button" className="button mt-2 w-full" onClick={list.loadMore}>
            {t("chat.more")}
          </button>
        )}
      </nav>
    </div>
  );
}

function Item({
  item,
  current,
  onOpen,
  refresh,
}: {
  item: Conversation;
  current: boolean;
  onOpen: () => void;
  refresh: () => void;
}) {
  const t = useT();
  const hub = useHub();
  const [mode, setMode] = useState<"show" | "menu" | "rename" | "delete">("show");
  const title = item.title || t("chat.untitled");
  const box = useRef<HTMLLIElement>(null);
  useEffect(() => {
    if (mode !== "menu") return;
    const leave = (event: Event) => {
      // Gone already when its own field takes the focus.
      if (box.current && !box.current.contains(event.target as Node)) setMode("show");
    };
    const escape = (event: KeyboardEvent) => {
      if (event.key === "Escape") {
        event.stopPropagation();
        setMode("show");
      }
    };
    addEventListener("pointerdown", leave);
    addEventListener("focusin", leave);
    addEventListener("keydown", escape, true);
    return () => {
      removeEventListener("pointerdown", leave);
      removeEventListener("focusin", leave);
      removeEventListener("keydown", escape, true);
    };
  }, [mode]);

  async function remove() {
    setMode("show");
    try {
      await deleteConversation(item.id);
      if (current) navigate("/");
    } catch (error) {
      hub.notify(t("app.failed", { reason: String((error as Error).message) }));
    }
    refresh();
  }

  if (mode === "rename") {
    return (
      <li>
        <Rename title={title} onDone={(next) => {
          setMode("show");
          if (next && next !== title) void changeConversation(item.id, { title: next }).then(refresh, refresh);
        }} />
      </li>
    );
  }
  return (
    <li ref={box} className="group relative">
      <a
        href={`/c/${item.id}`}
        aria-current={current ? "page" : undefined}
        className="flex min-h-9 items-center gap-2 rounded-lg py-1 pr-9 pl-2 hover:bg-wash-2 aria-[current]:bg-wash-2 aria-[current]:font-semibold"
        onClick={(event) => {
          if (event.metaKey || event.ctrlKey) return;
          event.preventDefault();
          onOpen();
        }}
      >
        {item.running && <span className="pulse h-2 w-2 flex-none rounded-full bg-accent" role="img" aria-label={t("chat.running")} />}
        <span className="truncate">{title}</span>
      </a>
      <button
        type="button"
        className="icon-button absolute top-0.5 right-0.5 opacity-0 group-focus-within:opacity-100 group-hover:opacity-100 aria-expanded:opacity-100 [@media(hover:none)]:opacity-100"
        aria-label={t("chat.options", { title })}
        aria-expanded={mode === "menu"}
        onClick={() => setMode(mode === "menu" ? "show" : "menu")}
      >
        <Icon name="more" />
      </button>
      {mode === "menu" && (
        <div className="absolute top-9 right-0 z-20 w-36 rounded-lg border border-line bg-sheet p-1 shadow-lg">
          <button type="button" className="w-full rounded-md px-2.5 py-1.5 text-left hover:bg-wash" onClick={() => setMode("rename")}>
            {t("chat.rename")}
          </button>
          <button type="button" className="w-full rounded-md px-2.5 py-1.5 text-left text-danger hover:bg-danger-wash" onClick={() => setMode("delete")}>
            {t("chat.delete")}
          </button>
        </div>
      )}
      {mode === "delete" && (
        <Confirm
          title={t("chat.deleteTitle")}
          text={t("chat.deleteText")}
          action={t("chat.delete")}
          onClose={() => setMode("show")}
          onConfirm={() => void remove()}
        />
      )}
    </li>
  );
}

function Rename({ title, onDone }: { title: string; onDone: (title: string | null) => void }) {
  const t = useT();
  const [text, setText] = useState(title);
  function submit(event: FormEvent) {
    event.preventDefault();
    onDone(text.trim().slice(0, 200));
  }
  return (
    <form onSubmit={submit}>
      <input
        className="field"
        aria-label={t("chat.rename")}
        value={text}
        autoFocus
        onFocus={(event) => event.target.select()}
        onChange={(event) => setText(event.target.value)}
        onBlur={() => onDone(text.trim().slice(0, 200))}
        onKeyDown={(event) => {
          if (event.key === "Escape") {
            event.stopPropagation();
            onDone(null);
          }
        }}
      />
    </form>
  );
}

function groups(items: Conversation[]): { name: Key; items: Conversation[] }[] {
  const today = new Date().setHours(0, 0, 0, 0);
  const dayMs = 86_400_000;
  const found = new Map<Key, Conversation[]>();
  for (const item of items) {
    const age = item.updated_at_ms;
    const name: Key =
      age >= today ? "chat.today" : age >= today - dayMs ? "chat.yesterday" : age >= today - 6 * dayMs ? "chat.week" : "chat.older";
    found.set(name, [...(found.get(name) ?? []), item]);
  }
  return [...found].map(([name, group]) => ({ name, items: group }));
}
