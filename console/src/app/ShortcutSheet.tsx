import { useT, type Key } from "../i18n";
import { Icon } from "../ui/Icon";
import { Overlay } from "../ui/Overlay";

const SHORTCUTS: { keys: string[]; text: Key }[] = [
  { keys: ["Enter"], text: "keys.send" },
  { keys: ["Shift", "Enter"], text: "keys.newline" },
  { keys: ["Esc"], text: "keys.stop" },
  { keys: ["/"], text: "keys.focus" },
  { keys: ["↑"], text: "keys.editLast" },
  { keys: ["Ctrl", "K"], text: "keys.palette" },
  { keys: ["Ctrl", "Shift", "O"], text: "keys.newChat" },
  { keys: ["?"], text: "keys.sheet" },
];

export function ShortcutSheet({ onClose }: { onClose: () => void }) {
  const t = useT();
  return (
    <Overlay label={t("account.shortcuts")} onClose={onClose} className="dialog">
      <div className="flex items-center justify-between">
        <h2 className="text-base font-semibold">{t("account.shortcuts")}</h2>
        <button type="button" className="icon-button" aria-label={t("app.close")} onClick={onClose}>
          <Icon name="close" />
        </button>
      </div>
      <dl className="mt-3">
        {SHORTCUTS.map(({ keys, text }) => (
          <div key={text} className="flex items-center justify-between gap-4 border-b border-line py-1.5 last:border-0">
            <dt>{t(text)}</dt>
            <dd className="flex flex-none gap-1">
              {keys.map((key) => (
                <kbd key={key} className="kbd">
                  {key}
                </kbd>
              ))}
            </dd>
          </div>
        ))}
      </dl>
    </Overlay>
  );
}
