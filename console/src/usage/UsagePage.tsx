import { useEffect, useState } from "react";
import { command, type Page, type StatementItem, type UsageReport } from "../api/commands";
import { HubError } from "../api/client";
import type { LedgerLine } from "../api/types";
import { BudgetPill } from "../app/BudgetPill";
import { useHub } from "../app/hub";
import { Segments } from "../app/Switches";
import { TopBar } from "../app/TopBar";
import { LedgerDrawer } from "../assistant/LedgerDrawer";
import { useT } from "../i18n";
import { count, dateTime, money } from "../ui/format";
import { Bars } from "./Bars";

const GROUPS = ["day", "model", "key", "user", "app"] as const;
type Group = (typeof GROUPS)[number];

/** What was used: sums by day, model, key, person or app, then the single requests; a click opens the ledger row. */
export default function UsagePage() {
  const t = useT();
  const { limits } = useHub();
  const currency = limits?.currency ?? "USD";
  const [by, setBy] = useState<Group>("day");
  const report = useReport(by);
  const [line, setLine] = useState<LedgerLine | null>(null);
  useEffect(() => {
    document.title = `${t("usage.title")} · Token Hub`;
  }, [t]);
  return (
    <div className="grid h-full grid-cols-[minmax(0,1fr)] grid-rows-[auto_minmax(0,1fr)]">
      <TopBar end={<BudgetPill />}>
        <h1 className="px-2 font-semibold">{t("usage.title")}</h1>
      </TopBar>
      <div className="overflow-y-auto" tabIndex={-1}>
        <div className="mx-auto max-w-5xl px-4 py-6 md:px-6">
          <p className="text-muted">{t("usage.lead")}</p>
          {report === "forbidden" && <p className="mt-4 text-muted">{t("usage.forbidden")}</p>}
          {report && report !== "forbidden" && (
            <>
              <Totals report={report} currency={currency} />
              <div className="mt-6 flex flex-wrap items-center gap-3">
                <span className="text-muted">{t("usage.by")}</span>
                <Segments<Group>
                  label={t("usage.by")}
                  name="by"
                  value={by}
                  options={GROUPS.map((value) => ({ value, text: t(`usage.${value}`) }))}
                  onChange={setBy}
                />
              </div>
              {by === "day" && <Bars rows={report.items} />}
              <Sums report={report} by={by} currency={currency} />
            </>
          )}
          <Latest currency={currency} onLine={setLine} />
        </div>
      </div>
      {line && <LedgerDrawer line={line} onClose={() => setLine(null)} />}
    </div>
  );
}

function useReport(by: Group): UsageReport | "forbidden" | null {
  const { notify } = useHub();
  const [report, setReport] = useState<UsageReport | "forbidden" | null>(null);
  useEffect(() => {
    let stale = false;
    command<UsageReport>("usage.show", { by }).then(
      (found) => {
        if (!stale) setReport(found);
      },
      (error: unknown) => {
        if (stale) return;
        if (error instanceof HubError && error.status === 403) setReport("forbidden");
        else notify((error as Error).message);
      },
    );
    return () => {
      stale = true;
    };
  }, [by, notify]);
  return report;
}

function Totals({ report, currency }: { report: UsageReport; currency: string }) {
  const t = useT();
  const { total } = report;
  const facts = [
    [t("usage.tokens"), count(total.total_tokens)],
    [t("usage.amount"), money(total.amount_nano, currency)],
    [t("usage.requests"), count(total.requests)],
  ] as const;
  return (
    <dl className="num mt-4 flex flex-wrap gap-x-10 gap-y-3">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt className="text-[0.8125rem] text-muted">{name}</dt>
          <dd className="text-2xl font-semibold tracking-tight">{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function Sums({ report, by, currency }: { report: UsageReport; by: Group; currency: string }) {
  const t = useT();
  if (!report.items.length) return <p className="mt-6 text-muted">{t("usage.empty")}</p>;
  const rows = [...report.items, { ...report.total, group: t("usage.total") }];
  return (
    <div className="mt-4 overflow-x-auto" tabIndex={0} role="region" aria-label={t("usage.title")}>
      <table className="table num">
        <thead>
          <tr>
            <th scope="col">{t(`usage.${by}`)}</th>
            <th scope="col" className="right">{t("usage.requests")}</th>
            <th scope="col" className="right">{t("usage.input")}</th>
            <th scope="col" className="right">{t("usage.cached")}</th>
            <th scope="col" className="right">{t("usage.output")}</th>
            <th scope="col" className="right">{t("usage.amount")}</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row, index) => (
            <tr key={`${row.group} ${index}`} className={index === rows.length - 1 ? "font-semibold" : ""}>
              <th scope="row" className="font-[inherit]">{row.group || t("usage.none")}</th>
              <td className="right">{count(row.requests)}</td>
              <td className="right">{count(row.prompt_tokens - row.cache_read_tokens)}</td>
              <td className="right">{count(row.cache_read_tokens)}</td>
              <td className="right">{count(row.completion_tokens)}</td>
              <td className="right">{money(row.amount_nano, currency)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Latest({ currency, onLine }: { currency: string; onLine: (line: LedgerLine) => void }) {
  const t = useT();
  const { notify } = useHub();
  const [items, setItems] = useState<StatementItem[]>([]);
  const [cursor, setCursor] = useState<string | null>(null);
  const load = (after: string | null) =>
    command<Page<StatementItem>>("ledger.statement", after ? { cursor: after } : {}).then(
      (page) => {
        setItems((now) => (after ? [...now, ...page.items] : page.items));
        setCursor(page.next_cursor);
      },
      (error: Error) => notify(error.message),
    );
  useEffect(() => {
    void load(null);
    // Once: the page shows what stood when it was opened.
  }, []);
  if (!items.length) return null;
  return (
    <>
      <h2 className="mt-10 text-base font-semibold">{t("usage.latest")}</h2>
      <div className="mt-2 overflow-x-auto" tabIndex={0} role="region" aria-label={t("usage.latest")}>
        <table className="table num">
          <thead>
            <tr>
              <th scope="col">{t("usage.time")}</th>
              <th scope="col">{t("usage.model")}</th>
              <th scope="col">{t("usage.app")}</th>
              <th scope="col" className="right">{t("usage.input")}</th>
              <th scope="col" className="right">{t("usage.cached")}</th>
              <th scope="col" className="right">{t("usage.output")}</th>
              <th scope="col" className="right">{t("usage.amount")}</th>
            </tr>
          </thead>
          <tbody>
            {items.map((item) => (
              <tr key={item.request_id}>
                <td>
                  <button type="button" className="rounded text-left underline decoration-dotted underline-offset-4 hover:text-accent" onClick={() => onLine(toLine(item, currency))}>
                    {dateTime(Date.parse(item.at))}
                  </button>
                </td>
                <td>{item.model}</td>
                <td>{item.app || "API"}</td>
                <td className="right">{count(item.prompt_tokens - item.cache_read_tokens)}</td>
                <td className="right">{count(item.cache_read_tokens)}</td>
                <td className="right">{count(item.completion_tokens)}</td>
                <td className="right">{money(item.amount_nano, currency)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {cursor && (
        <button type="button" className="button mt-3" onClick={() => void load(cursor)}>
          {t("chat.more")}
        </button>
      )}
    </>
  );
}

function toLine(item: StatementItem, currency: string): LedgerLine {
  const details: Record<string, string | number | null> = {
    hash: item.transfer_hash,
    seq: item.transfer,
    applied: item.applied_tokens,
    discarded: item.discarded_tokens,
    corrected_by: item.corrected_by,
    app: item.app,
    deployment: item.deployment_id,
    ttft_ms: item.ttft_ms,
    latency_ms: item.latency_ms,
  };
  const known = Object.entries(details).filter((entry): entry is [string, string | number] => entry[1] !== null && entry[1] !== "");
  return {
    request_id: item.request_id,
    transfer_id: item.transfer_id,
    at_ms: Date.parse(item.at),
    key_id: item.key_id,
    model: item.model,
    input_tokens: item.prompt_tokens - item.cache_read_tokens,
    cached_tokens: item.cache_read_tokens,
    output_tokens: item.completion_tokens - item.reasoning_tokens,
    reasoning_tokens: item.reasoning_tokens,
    total_tokens: item.total_tokens,
    amount_nano: item.amount_nano,
    currency: item.amount.split(" ").at(-1) ?? currency,
    price_version_id: item.price_version_id,
    finish: item.finish,
    source: item.source,
    details: Object.fromEntries(known),
  };
}
