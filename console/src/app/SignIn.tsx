import { useState, type FormEvent } from "react";
import { call, HubError } from "../api/client";
import type { Session } from "../api/types";
import { useT } from "../i18n";
import { Mark } from "../ui/Icon";
import { LanguageSwitch, ThemeSwitch } from "./Switches";

export function SignIn({ reason, onSignedIn }: { reason: string; onSignedIn: (session: Session) => void }) {
  const t = useT();
  const [key, setKey] = useState("");
  const [shown, setShown] = useState(false);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState(reason);

  async function submit(event: FormEvent) {
    event.preventDefault();
    setBusy(true);
    setProblem("");
    try {
      onSignedIn(await call<Session>("POST", "/api/session", { key: key.trim() }));
    } catch (error) {
      setProblem(error instanceof HubError && error.status ? error.message : t("app.offline"));
      setBusy(false);
    }
  }

  return (
    <div className="grid h-full grid-rows-[1fr_auto] overflow-y-auto">
      <main className="m-auto w-full max-w-sm px-6 py-10">
        <div className="flex items-center gap-3">
          <Mark size={34} />
          <span className="text-lg font-semibold">Token Hub</span>
        </div>
        <h1 className="mt-10 text-xl font-semibold">{t("login.title")}</h1>
        <p className="mt-1 text-muted">{t("login.lead")}</p>
        <form className="mt-6" onSubmit={submit}>
          <label htmlFor="key" className="font-semibold">
            {t("login.key")}
          </label>
          <div className="relative mt-1">
            <input
              id="key"
              className="field mono min-h-11 pr-16"
              type={shown ? "text" : "password"}
              value={key}
              onChange={(event) => setKey(event.target.value)}
              placeholder="sk-th-…"
              autoComplete="current-password"
              autoFocus
              spellCheck={false}
              required
              aria-describedby={problem ? "problem" : undefined}
            />
            <button
              type="button"
              className="absolute inset-y-1 right-1 rounded-md px-3 text-muted hover:text-ink"
              aria-pressed={shown}
              onClick={() => setShown(!shown)}
            >
              {t(shown ? "login.hide" : "login.show")}
            </button>
          </div>
          {problem.trim() && (
            <p id="problem" role="alert" className="mt-3 rounded-lg bg-danger-wash px-3 py-2 text-danger">
              {problem}
            </p>
          )}
          <button type="submit" className="button button-primary mt-4 min-h-11 w-full" disabled={busy || !key.trim()}>
            {t(busy ? "login.busy" : "login.submit")}
          </button>
        </form>
        <p className="mt-8 border-t border-line pt-4 text-muted">
          {t("login.noKey")} <code className="mono text-ink">./hub login-link create</code>
        </p>
      </main>
      <footer className="flex justify-center gap-6 p-4">
        <LanguageSwitch />
        <ThemeSwitch />
      </footer>
    </div>
  );
}
