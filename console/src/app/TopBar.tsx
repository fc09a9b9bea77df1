import type { ReactNode } from "react";
import { useT } from "../i18n";
import { Icon } from "../ui/Icon";
import { useHub } from "./hub";

/** The top line of an area: what it is, and the budget that is left. */
export function TopBar({ children, end }: { children: ReactNode; end?: ReactNode }) {
  const t = useT();
  const { openMenu } = useHub();
  return (
    <header className="flex h-13 items-center gap-1 border-b border-line px-2 md:px-4">
      <button type="button" className="icon-button lg:hidden" aria-label={t("app.menu")} onClick={openMenu}>
        <Icon name="menu" />
      </button>
      <div className="flex min-w-0 flex-1 items-center gap-2">{children}</div>
      {end}
    </header>
  );
}
