import type { ReactNode } from "react";
import type { LedgerLine } from "../api/types";
import { useT, type t } from "../i18n";
import { count, dateTime, money } from "../ui/format";
import { Drawer } from "../ui/Overlay";
import { Command } from "./EmptyState";

/** The ledger row of one answer, field by field. */
export function LedgerDrawer({ line, onClose }: { line: LedgerLine; onClose: () => void }) {
  const t = useT();
  const known = ["engine", "provider", "estimate"] as const;
  const source = known.find((one) => one === line.source);
  return (
    <Drawer title={t("ledger.title")} onClose={onClose}>
      <p className="text-muted">{t("ledger.lead")}</p>
      <table className="num mt-4 w-full">
        <tbody>
          <Sum name={t("ledger.input")} field="input">{count(line.input_tokens)}</Sum>
          <Sum name={t("ledger.cached")} field="cached">{count(line.cached_tokens)}</Sum>
          <Sum name={t("ledger.output")} field="output">{count(line.output_tokens + line.reasoning_tokens)}</Sum>
          {line.reasoning_tokens > 0 && <Sum name={t("ledger.reasoning")} field="reasoning">{count(line.reasoning_tokens)}</Sum>}
          <Sum name={t("ledger.total")} field="total" strong>{count(line.total_tokens)}</Sum>
          <Sum name={t("ledger.price")} field="amount" strong>
            {line.price_version_id || line.amount_nano ? money(line.amount_nano, line.currency) : t("receipt.unpriced")}
          </Sum>
        </tbody>
      </table>
      <dl className="mt-6 space-y-3">
        <Fact name={t("ledger.request")} value={line.request_id} field="request_id" />
        <Fact name={t("ledger.transfer")} value={line.transfer_id} />
        <Fact name={t("ledger.key")} value={line.key_id} />
        <Fact name={t("ledger.model")} value={line.model} />
        <Fact name={t("ledger.priceVersion")} value={line.price_version_id || t("receipt.unpriced")} />
        <Fact name={t("ledger.time")} value={dateTime(line.at_ms)} />
        <Fact name={t("ledger.finish")} value={line.finish} />
        <Fact name={t("ledger.source")} value={source ? t(`ledger.${source}`) : line.source} />
        {Object.entries(line.details).map(([name, value]) => (
          <Fact key={name} name={detailName(name, t)} value={String(value)} />
        ))}
      </dl>
      <p className="mt-6 text-muted">{t("ledger.check")}</p>
      <Command text={`./hub ledger statement --request ${line.request_id}`} />
    </Drawer>
  );
}

const DETAILS = ["hash", "seq", "applied", "discarded", "corrected_by", "app", "deployment", "ttft_ms", "latency_ms"] as const;

function detailName(name: string, translate: typeof t): string {
  const known = DETAILS.find((one) => one === name);
  return known ? translate(`ledger.${known}`) : name;
}

function Sum({ name, field, strong = false, children }: { name: string; field: string; strong?: boolean; children: ReactNode }) {
  return (
    <tr className={`border-b border-line ${strong ? "font-semibold" : ""}`}>
      <th scope="row" className={`py-1.5 text-left ${strong ? "font-semibold" : "font-normal"}`}>
        {name}
      </th>
      <td className="py-1.5 text-right" data-row={field}>
        {children}
      </td>
    </tr>
  );
}

function Fact({ name, value, field }: { name: string; value: string; field?: string }) {
  if (!value) return null;
  return (
    <div>
      <dt className="text-[0.75rem] text-muted">{name}</dt>
      <dd className="mono break-all" data-row={field}>
        {value}
      </dd>
    </div>
  );
}
