import { useEffect, useState } from "react";
import { ledgerLine } from "../api/assistant";
import type { LedgerLine } from "../api/types";
import { useT } from "../i18n";
import { count, money } from "../ui/format";

/** The line under an answer, as on a bill: tokens, leader, price; a click opens the ledger row. */
export function Receipt({ line, waiting, onOpen }: { line: LedgerLine | null; waiting: boolean; onOpen: (line: LedgerLine) => void }) {
  const t = useT();
  if (!line) {
    return (
      <p className="receipt">
        <span>{t(waiting ? "receipt.pending" : "receipt.none")}</span>
        <span className="leader" />
      </p>
    );
  }
  return (
    <button type="button" className="receipt" onClick={() => onOpen(line)} title={t("receipt.open")} data-request={line.request_id}>
      <span>
        <b data-field="input">{count(line.input_tokens)}</b> {t("receipt.input")}
        {line.cached_tokens > 0 && (
          <>
            {" "}· <b data-field="cached">{count(line.cached_tokens)}</b> {t("receipt.cached")}
          </>
        )}{" "}
        · <b data-field="output">{count(line.output_tokens + line.reasoning_tokens)}</b> {t("receipt.output")}
      </span>
      <span className="leader" />
      <span className="price" data-field="amount">
        {line.price_version_id || line.amount_nano ? <b>{money(line.amount_nano, line.currency)}</b> : t("receipt.unpriced")}
      </span>
      <span className="sr-only">{t("receipt.open")}</span>
    </button>
  );
}

/** The line of a run whose page came without one: asked for once more, since booking may be a moment behind. */
export function useLine(given: LedgerLine | null, runId: string | null, ask: boolean): { line: LedgerLine | null; waiting: boolean } {
  const [found, setFound] = useState<LedgerLine | null>(null);
  const [waiting, setWaiting] = useState(ask && !given);
  useEffect(() => {
    if (!ask || given || !runId) return;
    const timer = setTimeout(() => {
      void ledgerLine(runId)
        .then(setFound, () => null)
        .finally(() => setWaiting(false));
    }, 800);
    return () => clearTimeout(timer);
  }, [ask, given, runId]);
  return { line: given ?? found, waiting: waiting && !given && !found };
}
