import { useEffect, useState } from "react";
import { call, HubError, onSignedOut } from "../api/client";
import type { Session } from "../api/types";
import { useT } from "../i18n";
import { navigate } from "./router";
import { Shell } from "./Shell";
import { SignIn } from "./SignIn";

type Phase = { kind: "asking" } | { kind: "out"; reason: string } | { kind: "in"; session: Session };

/** The gate: a one-time link or a session leads in, anything else to the sign-in page. */
export function App() {
  const [phase, setPhase] = useState<Phase>({ kind: "asking" });
  const t = useT();
  useEffect(() => {
    let gone = false;
    void enter().then((next) => {
      if (!gone) setPhase(next);
    });
    return () => {
      gone = true;
    };
  }, []);
  useEffect(
    () => onSignedOut(() => setPhase((now) => (now.kind === "in" ? { kind: "out", reason: t("app.expired") } : now))),
    [t],
  );
  const linked = location.hash.includes("token=");
  const signedOut = () => {
    localStorage.removeItem(HINT);
    setPhase({ kind: "out", reason: "" });
  };
  if (phase.kind === "asking") return <p className="p-6 text-muted">{t(linked ? "login.link" : "app.loading")}</p>;
  if (phase.kind === "out") {
    return <SignIn reason={phase.reason} onSignedIn={(session) => setPhase(entered(session))} />;
  }
  return <Shell session={phase.session} onSignOut={signedOut} />;
}

/** Left on this device by a sign-in: without it there is no session to ask for. The cookie itself cannot be read here. */
const HINT = "signed-in";

function entered(session: Session): Phase {
  localStorage.setItem(HINT, "1");
  return { kind: "in", session };
}

let entering: Promise<Phase> | null = null;

/** Once per page load: exchange the link's token (and take it out of the address), else ask for the session. */
function enter(): Promise<Phase> {
  entering ??= (async (): Promise<Phase> => {
    const token = takeToken();
    try {
      if (token) return entered(await call<Session>("POST", "/api/session", { login_token: token }));
      if (!localStorage.getItem(HINT)) return { kind: "out", reason: "" };
      return entered(await call<Session>("GET", "/api/session"));
    } catch (error) {
      const known = error instanceof HubError && error.status === 401 && !token;
      return { kind: "out", reason: known ? "" : error instanceof HubError ? error.message || " " : String(error) };
    }
  })();
  return entering;
}

function takeToken(): string {
  const fromHash = new URLSearchParams(location.hash.slice(1)).get("token");
  const token = fromHash ?? new URLSearchParams(location.search).get("token") ?? "";
  if (token) navigate(location.pathname === "/login" ? "/" : location.pathname, { replace: true });
  else if (location.pathname === "/login") navigate("/", { replace: true });
  return token;
}
