import { lazy, Suspense, useCallback, useEffect, useMemo, useState } from "react";
import { limits as loadLimits, models as loadModels } from "../api/assistant";
import { call } from "../api/client";
import type { EnvelopeList, ModelList, Session } from "../api/types";
import { AssistantPage } from "../assistant/AssistantPage";
import { ConversationList } from "../assistant/ConversationList";
import { useConversations } from "../assistant/conversations";
import { useT, type Key } from "../i18n";
import { Icon, Mark, type IconName } from "../ui/Icon";
import { Overlay } from "../ui/Overlay";
import { HubContext, type Hub } from "./hub";
import { Palette } from "./Palette";
import { navigate, useRoute, type Route } from "./router";
import { Settings } from "./Settings";
import { ShortcutSheet } from "./ShortcutSheet";
import { isTyping } from "./typing";

const UsagePage = lazy(() => import("../usage/UsagePage"));
const KeysPage = lazy(() => import("../keys/KeysPage"));

/** Areas in the rail; later ones (models, budgets, work, studio, train) add a line. */
const AREAS: { area: Route["area"]; path: string; icon: IconName; text: Key }[] = [
  { area: "assistant", path: "/", icon: "chat", text: "nav.assistant" },
  { area: "usage", path: "/usage", icon: "chart", text: "nav.usage" },
  { area: "keys", path: "/keys", icon: "key", text: "nav.keys" },
];
type Panel = "none" | "menu" | "palette" | "shortcuts";

export function Shell({ session, onSignOut }: { session: Session; onSignOut: () => void }) {
  const t = useT();
  const route = useRoute();
  const [panel, setPanel] = useState<Panel>("none");
  const [notice, setNotice] = useState("");
  const hub = useHubState(session, setNotice, () => setPanel("menu"));
  const list = useConversations();
  useGlobalKeys(setPanel);
  useEffect(() => {
    if (!notice) return;
    const timer = setTimeout(() => setNotice(""), 6000);
    return () => clearTimeout(timer);
  }, [notice]);

  async function signOut() {
    await call("DELETE", "/api/session").catch(() => null);
    onSignOut();
  }

  const close = useCallback(() => setPanel("none"), []);
  const side = (onNavigate: () => void) => (
    <>
      {route.area === "assistant" || panel === "menu" ? (
        <ConversationList
          list={list}
          currentId={route.area === "assistant" ? route.conversationId : null}
          onNavigate={onNavigate}
        />
      ) : null}
    </>
  );

  return (
    <HubContext value={hub}>
      <a className="skip" href="#content">
        {t("app.skip")}
      </a>
      <div className="grid h-dvh grid-cols-1 md:grid-cols-[auto_auto_minmax(0,1fr)]">
        <Rail route={route} onSignOut={() => void signOut()} onShortcuts={() => setPanel("shortcuts")} />
        {route.area === "assistant" && (
          <aside className="hidden min-h-0 w-64 flex-col border-r border-line bg-wash lg:flex">{side(close)}</aside>
        )}
        <main id="content" tabIndex={-1} className="min-h-0 min-w-0 outline-none md:col-start-3">
          <Suspense fallback={<p className="p-6 text-muted">{t("app.loading")}</p>}>
            {route.area === "assistant" && <AssistantPage conversationId={route.conversationId} list={list} />}
            {route.area === "usage" && <UsagePage />}
            {route.area === "keys" && <KeysPage />}
          </Suspense>
        </main>
      </div>
      {panel === "menu" && (
        <Overlay label={t("app.menu")} onClose={close} className="drawer drawer-left">
          <header className="flex items-center justify-between border-b border-line px-4 py-2.5">
            <span className="flex items-center gap-2.5 font-semibold">
              <Mark size={24} /> Token Hub
            </span>
            <button type="button" className="icon-button" aria-label={t("app.close")} onClick={close}>
              <Icon name="close" />
            </button>
          </header>
          <div className="flex min-h-0 flex-col">
            <nav aria-label={t("app.nav")} className="border-b border-line p-2">
              {AREAS.map((item) => (
                <AreaLink key={item.area} item={item} current={route.area === item.area} onNavigate={close} wide />
              ))}
            </nav>
            {side(close)}
            <div className="border-t border-line p-2">
              <Settings onSignOut={() => void signOut()} onShortcuts={() => setPanel("shortcuts")} wide />
            </div>
          </div>
        </Overlay>
      )}
      {panel === "palette" && <Palette conversations={list.items} onClose={close} />}
      {panel === "shortcuts" && <ShortcutSheet onClose={close} />}
      <div role="status" aria-live="polite" className="pointer-events-none fixed inset-x-0 bottom-28 z-40 flex justify-center px-4">
        {notice && (
          <p className="pointer-events-auto rounded-lg border border-line bg-sheet px-4 py-2 shadow-lg">{notice}</p>
        )}
      </div>
    </HubContext>
  );
}

function Rail({
  route,
  onSignOut,
  onShortcuts,
}: {
  route: Route;
  onSignOut: () => void;
  onShortcuts: () => void;
}) {
  const t = useT();
  return (
    <div className="hidden w-[4.5rem] flex-col items-center gap-1 border-r border-line bg-wash py-3 md:flex">
      <div className="mb-3">
        <Mark size={30} />
      </div>
      <nav aria-label={t("app.nav")} className="flex flex-col gap-1">
        {AREAS.map((item) => (
          <AreaLink key={item.area} item={item} current={route.area === item.area} />
        ))}
      </nav>
      <div className="mt-auto">
        <Settings onSignOut={onSignOut} onShortcuts={onShortcuts} />
      </div>
    </div>
  );
}

function AreaLink({
  item,
  current,
  onNavigate,
  wide = false,
}: {
  item: (typeof AREAS)[number];
  current: boolean;
  onNavigate?: () => void;
  wide?: boolean;
}) {
  const t = useT();
  return (
    <a
      href={item.path}
      aria-current={current ? "page" : undefined}
      className={`flex items-center rounded-lg text-muted hover:bg-wash-2 hover:text-ink aria-[current]:bg-accent-wash aria-[current]:text-accent ${
        wide ? "min-h-10 gap-3 px-3" : "w-16 flex-col gap-0.5 px-1 py-2 text-[0.6875rem]"
      }`}
      onClick={(event) => {
        if (event.metaKey || event.ctrlKey) return;
        event.preventDefault();
        navigate(item.path);
        onNavigate?.();
      }}
    >
      <Icon name={item.icon} size={wide ? 18 : 20} />
      <span>{t(item.text)}</span>
    </a>
  );
}

function useHubState(session: Session, notify: (text: string) => void, openMenu: () => void): Hub {
  const [models, setModels] = useState<ModelList | null>(null);
  const [limits, setLimits] = useState<EnvelopeList | null>(null);
  const [model, setModel] = useState("");
  const refreshLimits = useCallback(() => {
    void loadLimits().then(setLimits, () => null);
  }, []);
  useEffect(() => {
    let timer = 0;
    let gone = false;
    const look = () => {
      void loadModels().then(
        (found) => {
          if (gone) return;
          setModels(found);
          setModel((chosen) => (found.data.some((one) => one.id === chosen) ? chosen : (found.default ?? "")));
          if (!found.data.length) timer = window.setTimeout(look, 3000);
        },
        () => {
          if (!gone) timer = window.setTimeout(look, 3000);
        },
      );
    };
    look();
    refreshLimits();
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, [refreshLimits]);
  return useMemo(
    () => ({ session, models, model, setModel, limits, refreshLimits, notify, openMenu }),
    // openMenu and notify are state setters in effect: they never change what they do.
    [session, models, model, limits, refreshLimits],
  );
}

function useGlobalKeys(setPanel: (panel: Panel) => void): void {
  useEffect(() => {
    function onKey(event: KeyboardEvent) {
      if (event.isComposing) return;
      const command = event.ctrlKey || event.metaKey;
      if (command && event.key.toLowerCase() === "k") {
        event.preventDefault();
        setPanel("palette");
      } else if (command && event.shiftKey && event.key.toLowerCase() === "o") {
        event.preventDefault();
        navigate("/");
      } else if (event.key === "?" && !isTyping(event.target) && !document.querySelector("dialog[open]")) {
        event.preventDefault();
        setPanel("shortcuts");
      }
    }
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, [setPanel]);
}
