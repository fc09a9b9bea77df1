import { useEffect, useRef, type ReactNode } from "react";
import { useT } from "../i18n";
import { Icon } from "./Icon";

/** A modal `<dialog>`: the browser keeps the focus inside, Esc closes it, the focus goes back where it was. */
export function Overlay({
  label,
  onClose,
  className,
  children,
}: {
  label: string;
  onClose: () => void;
  className: string;
  children: ReactNode;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    const element = dialog.current;
    if (element && !element.open) element.showModal();
    return () => {
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      aria-label={label}
      className={className}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => {
        if (event.target === dialog.current) onClose();
      }}
    >
      {children}
    </dialog>
  );
}

/** A question with two answers. */
export function Confirm({
  title,
  text,
  action,
  onConfirm,
  onClose,
}: {
  title: string;
  text: string;
  action: string;
  onConfirm: () => void;
  onClose: () => void;
}) {
  const t = useT();
  return (
    <Overlay label={title} onClose={onClose} className="dialog">
      <h2 className="text-base font-semibold">{title}</h2>
      <p className="mt-2 text-muted">{text}</p>
      <div className="mt-5 flex justify-end gap-2">
        <button type="button" className="button" onClick={onClose}>
          {t("app.cancel")}
        </button>
        <button type="button" className="button button-danger" onClick={onConfirm}>
          {action}
        </button>
      </div>
    </Overlay>
  );
}

/** The panel on the right that shows details, so that what lies behind keeps its place. */
export function Drawer({ title, onClose, children }: { title: string; onClose: () => void; children: ReactNode }) {
  const t = useT();
  return (
    <Overlay label={title} onClose={onClose} className="drawer">
      <header className="flex items-center justify-between border-b border-line px-5 py-3">
        <h2 className="text-base font-semibold">{title}</h2>
        <button type="button" className="icon-button" aria-label={t("app.close")} onClick={onClose}>
          <Icon name="close" />
        </button>
      </header>
      <div className="overflow-y-auto px-5 py-4">{children}</div>
    </Overlay>
  );
}
