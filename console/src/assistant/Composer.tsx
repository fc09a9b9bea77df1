import { useEffect, useImperativeHandle, useLayoutEffect, useRef, useState, type KeyboardEvent, type Ref } from "react";
import { isTyping } from "../app/typing";
import { useT } from "../i18n";
import { Icon } from "../ui/Icon";

export interface ComposerHandle {
  /** Put a text into the field and the cursor behind it. */
  take: (text: string) => void;
}

const HEIGHT_MAX = 240;

export function Composer({
  ref,
  draftKey,
  running,
  disabled,
  editing,
  onCancelEdit,
  onSend,
  onStop,
  onEditLast,
}: {
  ref: Ref<ComposerHandle>;
  draftKey: string;
  running: boolean;
  disabled: boolean;
  editing: boolean;
  onCancelEdit: () => void;
  onSend: (text: string) => Promise<boolean>;
  onStop: () => void;
  onEditLast: () => void;
}) {
  const t = useT();
  const field = useRef<HTMLTextAreaElement>(null);
  const [text, setText] = useDraft(draftKey);
  const [sending, setSending] = useState(false);
  const composing = useComposing(field);
  const ready = text.trim() !== "" && !running && !sending && !disabled;

  useImperativeHandle(ref, () => ({
    take(next: string) {
      setText(next);
      requestAnimationFrame(() => {
        field.current?.focus();
        field.current?.setSelectionRange(next.length, next.length);
      });
    },
  }));
  useLayoutEffect(() => {
    const element = field.current;
    if (!element) return;
    element.style.height = "auto";
    element.style.height = `${Math.min(element.scrollHeight, HEIGHT_MAX)}px`;
  }, [text]);
  useFocusKey(field, draftKey);

  async function send() {
    if (!ready) return;
    const sent = text;
    setSending(true);
    setText("");
    const stored = await onSend(sent);
    setSending(false);
    if (!stored) setText(sent);
    field.current?.focus();
  }
  function onKey(event: KeyboardEvent<HTMLTextAreaElement>) {
    // An input method's Enter chooses a word. `isComposing` alone is not reliable: see useComposing.
    if (event.nativeEvent.isComposing || event.keyCode === 229 || composing.current) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      void send();
    } else if (event.key === "ArrowUp" && text === "") {
      event.preventDefault();
      onEditLast();
    } else if (event.key === "Escape" && editing) {
      event.stopPropagation();
      onCancelEdit();
    }
  }

  return (
    <div className="px-3 pb-3 md:px-6 md:pb-4">
      <form
        className="mx-auto max-w-[46rem] rounded-2xl border border-line-strong bg-sheet shadow-sm focus-within:border-accent"
        onSubmit={(event) => {
          event.preventDefault();
          void send();
        }}
      >
        {editing && (
          <p className="flex items-center justify-between gap-2 border-b border-line px-4 py-1.5 text-[0.8125rem] text-muted">
            {t("composer.editing")}
            <button type="button" className="rounded px-1.5 hover:text-ink" onClick={onCancelEdit}>
              {t("app.cancel")}
            </button>
          </p>
        )}
        <div className="flex items-end gap-2 p-2 pl-4">
          <textarea
            ref={field}
            rows={1}
            className="min-h-9 flex-1 resize-none bg-transparent py-1.5 text-[0.9375rem] leading-6 outline-none"
            aria-label={t("composer.label")}
            aria-describedby="composer-hint"
            placeholder={t("composer.placeholder")}
            value={text}
            maxLength={1_000_000}
            onChange={(event) => setText(event.target.value)}
            onKeyDown={onKey}
          />
          {running ? (
            <button type="button" className="button h-9 !rounded-xl" onClick={onStop}>
              <Icon name="stop" size={16} /> {t("composer.stop")}
            </button>
          ) : (
            <button type="submit" className="button button-primary h-9 w-9 !rounded-xl !px-0" aria-label={t("composer.send")} disabled={!ready}>
              <Icon name="send" />
            </button>
          )}
        </div>
      </form>
      <p id="composer-hint" className="mx-auto mt-1.5 hidden max-w-[46rem] px-4 text-[0.75rem] text-muted md:block">
        {t("composer.hint")}
      </p>
    </div>
  );
}

/** A text that survives a reload of the tab, one per chat. */
function useDraft(key: string): [string, (text: string) => void] {
  const [text, setText] = useState(() => sessionStorage.getItem(`draft ${key}`) ?? "");
  const shown = useRef(key);
  useEffect(() => {
    if (shown.current === key) return;
    shown.current = key;
    setText(sessionStorage.getItem(`draft ${key}`) ?? "");
  }, [key]);
  return [
    text,
    (next: string) => {
      setText(next);
      if (next) sessionStorage.setItem(`draft ${key}`, next);
      else sessionStorage.removeItem(`draft ${key}`);
    },
  ];
}

/** True while an input method composes, and until the key that ended the composition has passed. */
function useComposing(field: React.RefObject<HTMLTextAreaElement | null>): React.RefObject<boolean> {
  const composing = useRef(false);
  useEffect(() => {
    const element = field.current;
    if (!element) return;
    let timer = 0;
    const start = () => {
      clearTimeout(timer);
      composing.current = true;
    };
    const end = () => {
      timer = window.setTimeout(() => (composing.current = false), 0);
    };
    element.addEventListener("compositionstart", start);
    element.addEventListener("compositionend", end);
    return () => {
      clearTimeout(timer);
      element.removeEventListener("compositionstart", start);
      element.removeEventListener("compositionend", end);
    };
  }, [field]);
  return composing;
}

/** `/` goes to the field from anywhere; a chat that opens does too, where there is a keyboard. */
function useFocusKey(field: React.RefObject<HTMLTextAreaElement | null>, key: string): void {
  useEffect(() => {
    const onKey = (event: globalThis.KeyboardEvent) => {
      if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
      if (isTyping(event.target) || document.querySelector("dialog[open]")) return;
      event.preventDefault();
      field.current?.focus();
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, [field]);
  useEffect(() => {
    if (matchMedia("(hover: hover)").matches) field.current?.focus();
  }, [field, key]);
}
