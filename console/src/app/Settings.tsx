import { useEffect, useRef, useState } from "react";
import { useT } from "../i18n";
import { Icon } from "../ui/Icon";
import { LanguageSwitch, ThemeSwitch } from "./Switches";

/** Theme, language, shortcuts, sign out: behind one button at the foot of the rail. */
export function Settings({
  onSignOut,
  onShortcuts,
  wide = false,
}: {
  onSignOut: () => void;
  onShortcuts: () => void;
  wide?: boolean;
}) {
  const t = useT();
  const [open, setOpen] = useState(false);
  const box = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (!open) return;
    const outside = (event: Event) => {
      if (!box.current?.contains(event.target as Node)) setOpen(false);
    };
    const escape = (event: KeyboardEvent) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      setOpen(false);
      button.current?.focus();
    };
    addEventListener("pointerdown", outside);
    addEventListener("focusin", outside);
    addEventListener("keydown", escape, true);
    return () => {
      removeEventListener("pointerdown", outside);
      removeEventListener("focusin", outside);
      removeEventListener("keydown", escape, true);
    };
  }, [open]);
  return (
    <div ref={box} className="relative">
      <button
        ref={button}
        type="button"
        aria-expanded={open}
        aria-label={t("account.label")}
        className={wide ? "flex min-h-10 w-full items-center gap-3 rounded-lg px-3 text-muted hover:bg-wash-2" : "icon-button h-11 w-11"}
        onClick={() => setOpen(!open)}
      >
        <Icon name="gear" size={20} />
        {wide && <span>{t("account.label")}</span>}
      </button>
      {open && (
        <div className="absolute bottom-full left-2 z-30 mb-2 w-64 rounded-xl border border-line bg-sheet p-3 shadow-lg">
          <p className="mb-1 text-[0.75rem] text-muted">{t("language.label")}</p>
          <LanguageSwitch />
          <p className="mt-3 mb-1 text-[0.75rem] text-muted">{t("theme.label")}</p>
          <ThemeSwitch />
          <div className="mt-3 border-t border-line pt-2">
            <MenuLine icon="key" text={t("account.shortcuts")} onClick={onShortcuts} />
            <MenuLine icon="out" text={t("account.signOut")} onClick={onSignOut} />
          </div>
        </div>
      )}
    </div>
  );
}

function MenuLine({ icon, text, onClick }: { icon: "key" | "out"; text: string; onClick: () => void }) {
  return (
    <button type="button" className="flex min-h-9 w-full items-center gap-2.5 rounded-lg px-2 text-left hover:bg-wash" onClick={onClick}>
      <Icon name={icon} /> {text}
    </button>
  );
}
