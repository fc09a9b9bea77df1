import { useId, useState, type KeyboardEvent } from "react";
import type { Conversation } from "../api/types";
import { currentLanguage, setLanguage, useT } from "../i18n";
import { Overlay } from "../ui/Overlay";
import { useHub } from "./hub";
import { navigate } from "./router";
import { setTheme } from "./theme";

interface Entry {
  id: string;
  text: string;
  run: () => void;
}

/** Every command of the console, and the chats, by their first letters. */
export function Palette({ conversations, onClose }: { conversations: Conversation[]; onClose: () => void }) {
  const t = useT();
  const [typed, setTyped] = useState("");
  const [index, setIndex] = useState(0);
  const listId = useId();
  const entries = useEntries(conversations).filter((entry) =>
    entry.text.toLowerCase().includes(typed.trim().toLowerCase()),
  );
  const active = Math.min(index, entries.length - 1);

  function choose(entry: Entry | undefined) {
    if (!entry) return;
    onClose();
    entry.run();
  }
  function onKey(event: KeyboardEvent) {
    if (event.nativeEvent.isComposing) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : -1;
      setIndex((active + step + entries.length) % Math.max(entries.length, 1));
    } else if (event.key === "Enter") {
      event.preventDefault();
      choose(entries[active]);
    }
  }

  return (
    <Overlay label={t("palette.label")} onClose={onClose} className="dialog mt-[12vh] !p-0">
      <input
        className="h-12 w-full rounded-t-xl border-b border-line bg-transparent px-4 text-[0.9375rem] outline-none"
        placeholder={t("palette.placeholder")}
        aria-label={t("palette.label")}
        role="combobox"
        aria-expanded="true"
        aria-controls={listId}
        aria-activedescendant={entries[active] ? `${listId}-${active}` : undefined}
        value={typed}
        autoFocus
        onChange={(event) => {
          setTyped(event.target.value);
          setIndex(0);
        }}
        onKeyDown={onKey}
      />
      <ul id={listId} role="listbox" aria-label={t("palette.label")} className="max-h-80 overflow-y-auto p-1.5">
        {entries.map((entry, position) => (
          <li
            key={entry.id}
            id={`${listId}-${position}`}
            role="option"
            aria-selected={position === active}
            className="cursor-pointer truncate rounded-lg px-3 py-2 aria-selected:bg-accent-wash aria-selected:text-accent"
            ref={position === active ? (element) => element?.scrollIntoView({ block: "nearest" }) : undefined}
            onPointerMove={() => setIndex(position)}
            onClick={() => choose(entry)}
          >
            {entry.text}
          </li>
        ))}
        {!entries.length && (
          <li role="option" aria-selected="false" aria-disabled="true" className="px-3 py-2 text-muted">
            {t("palette.none")}
          </li>
        )}
      </ul>
    </Overlay>
  );
}

function useEntries(conversations: Conversation[]): Entry[] {
  const t = useT();
  const hub = useHub();
  const go = (id: string, text: string, path: string): Entry => ({ id, text, run: () => navigate(path) });
  return [
    go("new", t("chat.new"), "/"),
    go("usage", t("nav.usage"), "/usage"),
    go("keys", t("nav.keys"), "/keys"),
    ...(hub.models?.data ?? []).map((model) => ({
      id: `model ${model.id}`,
      text: t("palette.model", { model: model.id }),
      run: () => hub.setModel(model.id),
    })),
    ...(["system", "light", "dark"] as const).map((theme) => ({
      id: theme,
      text: t("palette.theme", { theme: t(`theme.${theme}`) }),
      run: () => setTheme(theme),
    })),
    {
      id: "language",
      text: t("palette.language"),
      run: () => setLanguage(currentLanguage() === "en" ? "zh-CN" : "en"),
    },
    ...conversations.map((one) => go(one.id, one.title || t("chat.untitled"), `/c/${one.id}`)),
  ];
}
