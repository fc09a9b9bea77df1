import { useCallback, useEffect, useState, type FormEvent } from "react";
import { command, type ApiKey, type Page } from "../api/commands";
import { BudgetPill } from "../app/BudgetPill";
import { useHub } from "../app/hub";
import { TopBar } from "../app/TopBar";
import { Command } from "../assistant/EmptyState";
import { useT } from "../i18n";
import { day } from "../ui/format";
import { Confirm } from "../ui/Overlay";

/** API keys: make one (its secret is shown once), see them, end them. */
export default function KeysPage() {
  const t = useT();
  const { notify, model } = useHub();
  const [keys, setKeys] = useState<ApiKey[] | null>(null);
  const [secret, setSecret] = useState("");
  const [doomed, setDoomed] = useState<ApiKey | null>(null);
  const load = useCallback(() => {
    command<Page<ApiKey>>("key.list", { limit: 200 }).then(
      (page) => setKeys(page.items),
      (error: Error) => notify(error.message),
    );
  }, [notify]);
  useEffect(() => {
    document.title = `${t("keysPage.title")} · Token Hub`;
    load();
  }, [load, t]);

  async function revoke(key: ApiKey) {
    setDoomed(null);
    await command("key.revoke", { key: key.id }).catch((error: Error) => notify(error.message));
    load();
  }

  return (
    <div className="grid h-full grid-cols-[minmax(0,1fr)] grid-rows-[auto_minmax(0,1fr)]">
      <TopBar end={<BudgetPill />}>
        <h1 className="px-2 font-semibold">{t("keysPage.title")}</h1>
      </TopBar>
      <div className="overflow-y-auto" tabIndex={-1}>
        <div className="mx-auto max-w-5xl px-4 py-6 md:px-6">
          <p className="text-muted">{t("keysPage.lead")}</p>
          <NewKey
            onMade={(made) => {
              setSecret(made);
              load();
            }}
          />
          {secret && (
            <section className="mt-4 rounded-xl border border-accent bg-accent-wash p-4" aria-live="polite">
              <p className="font-semibold">{t("keysPage.secret")}</p>
              <Command text={secret} />
              <p className="mt-3 text-muted">{t("keysPage.curl")}</p>
              <Command
                text={`curl ${location.origin}/v1/chat/completions \\\n  -H "Authorization: Bearer ${secret}" \\\n  -H "Content-Type: application/json" \\\n  -d '{"model": "${model}", "messages": [{"role": "user", "content": "Hello"}]}'`}
              />
            </section>
          )}
          {keys && <KeyTable keys={keys} onRevoke={setDoomed} />}
        </div>
      </div>
      {doomed && (
        <Confirm
          title={t("keysPage.revokeTitle", { name: doomed.name })}
          text={t("keysPage.revokeText")}
          action={t("keysPage.revoke")}
          onClose={() => setDoomed(null)}
          onConfirm={() => void revoke(doomed)}
        />
      )}
    </div>
  );
}

function NewKey({ onMade }: { onMade: (secret: string) => void }) {
  const t = useT();
  const { notify } = useHub();
  const [name, setName] = useState("");
  const [busy, setBusy] = useState(false);
  async function submit(event: FormEvent) {
    event.preventDefault();
    setBusy(true);
    try {
      onMade((await command<{ key: string }>("key.create", { name: name.trim() })).key);
      setName("");
    } catch (error) {
      notify((error as Error).message);
    }
    setBusy(false);
  }
  return (
    <form className="mt-5 flex flex-wrap items-end gap-2" onSubmit={submit}>
      <label className="block w-full max-w-xs">
        <span className="font-semibold">{t("keysPage.name")}</span>
        <input className="field mt-1" value={name} maxLength={100} required onChange={(event) => setName(event.target.value)} />
      </label>
      <button type="submit" className="button button-primary" disabled={busy || !name.trim()}>
        {t(busy ? "keysPage.creating" : "keysPage.create")}
      </button>
    </form>
  );
}

function KeyTable({ keys, onRevoke }: { keys: ApiKey[]; onRevoke: (key: ApiKey) => void }) {
  const t = useT();
  const { session } = useHub();
  if (!keys.length) return <p className="mt-6 text-muted">{t("keysPage.empty")}</p>;
  return (
    <div className="mt-6 overflow-x-auto" tabIndex={0} role="region" aria-label={t("keysPage.title")}>
      <table className="table num">
        <thead>
          <tr>
            <th scope="col">{t("keysPage.name")}</th>
            <th scope="col">{t("keysPage.prefix")}</th>
            <th scope="col">{t("keysPage.owner")}</th>
            <th scope="col">{t("keysPage.scopes")}</th>
            <th scope="col">{t("keysPage.created")}</th>
            <th scope="col">{t("keysPage.state")}</th>
            <th scope="col">
              <span className="sr-only">{t("keysPage.revoke")}</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {keys.map((key) => (
            <tr key={key.id} className={key.status === "live" ? "" : "text-muted"}>
              <th scope="row" className="font-semibold">{key.name}</th>
              <td className="mono">{key.prefix}…</td>
              <td>{key.owner}</td>
              <td>{key.scopes.join(", ")}</td>
              <td>{day(key.created_at_ms)}</td>
              <td>{stateName(key.status, t)}</td>
              <td className="right">
                {key.status === "live" && key.id !== session.key_id && (
                  <button type="button" className="rounded px-1.5 text-danger hover:underline" onClick={() => onRevoke(key)}>
                    {t("keysPage.revoke")}
                  </button>
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function stateName(status: string, t: ReturnType<typeof useT>): string {
  const known = (["live", "revoked", "expired"] as const).find((one) => one === status);
  return known ? t(`keysPage.${known}`) : status;
}
