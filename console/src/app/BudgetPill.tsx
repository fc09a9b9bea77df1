import { useEffect, useRef, useState } from "react";
import type { Envelope } from "../api/types";
import { useT } from "../i18n";
import { count, day, money, moneyShort, short } from "../ui/format";
import { useHub } from "./hub";

/** What is left, on top of every page; a click shows every limit with what is used and held. */
export function BudgetPill() {
  const t = useT();
  const { limits } = useHub();
  const [open, setOpen] = useState(false);
  const box = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (!open) return;
    const outside = (event: Event) => {
      if (!box.current?.contains(event.target as Node)) setOpen(false);
    };
    const escape = (event: KeyboardEvent) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      setOpen(false);
      button.current?.focus();
    };
    addEventListener("pointerdown", outside);
    addEventListener("focusin", outside);
    addEventListener("keydown", escape, true);
    return () => {
      removeEventListener("pointerdown", outside);
      removeEventListener("focusin", outside);
      removeEventListener("keydown", escape, true);
    };
  }, [open]);
  if (!limits) return null;
  const first = limits.data.find((one) => one.unit === "tokens" || one.unit === "money") ?? limits.data[0];
  return (
    <div ref={box} className="relative flex-none">
      <button
        ref={button}
        type="button"
        className="num flex h-9 items-center gap-2 rounded-full border border-line bg-sheet px-3 text-[0.8125rem] hover:border-line-strong"
        aria-expanded={open}
        onClick={() => setOpen(!open)}
        data-budget
      >
        <span className="sr-only">{t("budget.label")}: </span>
        {first ? <PillText envelope={first} currency={limits.currency} /> : <span className="text-muted">{t("budget.none")}</span>}
      </button>
      {open && (
        <div className="absolute top-11 right-0 z-30 max-h-[70dvh] w-80 max-w-[calc(100vw-1.5rem)] overflow-y-auto rounded-xl border border-line bg-sheet p-4 shadow-lg">
          {limits.data.length ? (
            <ul className="space-y-4">
              {limits.data.map((envelope) => (
                <EnvelopeRow key={envelope.limit_id} envelope={envelope} currency={limits.currency} />
              ))}
            </ul>
          ) : (
            <p className="text-muted">{t("budget.noneLead")}</p>
          )}
        </div>
      )}
    </div>
  );
}

function PillText({ envelope, currency }: { envelope: Envelope; currency: string }) {
  const t = useT();
  const left = leftOf(envelope);
  const amount = (value: number) => (envelope.unit === "money" ? moneyShort(value, currency) : short(value));
  return (
    <>
      <Ring part={envelope.cap ? envelope.used / envelope.cap : 1} />
      <span className="sm:hidden">{left ? t("budget.leftShort", { left: amount(left) }) : t("budget.empty")}</span>
      <span className="hidden sm:inline">
        {left ? t("budget.left", { left: amount(left), cap: amount(envelope.cap) }) : t("budget.empty")}
        {envelope.forecast_at_ms !== null && (
          <span className="text-muted"> · {t("budget.lasts", { date: day(envelope.forecast_at_ms) })}</span>
        )}
      </span>
    </>
  );
}

/** How much is used, as a ring (the number stands beside it). */
function Ring({ part }: { part: number }) {
  const used = Math.min(1, Math.max(0, part));
  const around = 2 * Math.PI * 6;
  return (
    <svg aria-hidden="true" width="16" height="16" viewBox="0 0 16 16" className={used > 0.9 ? "text-danger" : used > 0.75 ? "text-warn" : "text-accent"}>
      <circle cx="8" cy="8" r="6" fill="none" stroke="var(--wash-2)" strokeWidth="3" />
      <circle
        cx="8"
        cy="8"
        r="6"
        fill="none"
        stroke="currentColor"
        strokeWidth="3"
        strokeDasharray={`${around * (1 - used)} ${around}`}
        transform="rotate(-90 8 8)"
      />
    </svg>
  );
}

function EnvelopeRow({ envelope, currency }: { envelope: Envelope; currency: string }) {
  const t = useT();
  const amount = (value: number) => (envelope.unit === "money" ? money(value, currency) : count(value));
  const share = (value: number) => `${envelope.cap ? Math.min(100, (100 * value) / envelope.cap) : 100}%`;
  const ends =
    envelope.resets_at_ms === null ? t("budget.lifetime") : t("budget.resets", { date: day(envelope.resets_at_ms) });
  return (
    <li className="num" data-limit={envelope.limit_id}>
      <div className="flex items-baseline justify-between gap-3">
        <span className="truncate font-semibold">{envelope.name || envelope.scope}</span>
        <span className="flex-none text-[0.75rem] text-muted">
          {t(`unit.${envelope.unit}`)} · {envelope.hard ? ends : `${t("budget.soft")} · ${ends}`}
        </span>
      </div>
      <div className="bar mt-1.5" aria-hidden="true">
        <span className="bg-accent" style={{ width: share(envelope.used) }} />
        <span className="bar-held" style={{ width: share(envelope.held) }} />
      </div>
      <dl className="mt-1.5 grid grid-cols-3 text-[0.8125rem]">
        <Amount name={t("budget.used")} value={amount(envelope.used)} field="used" />
        <Amount name={t("budget.free")} value={amount(leftOf(envelope))} field="left" />
        <Amount name={t("budget.held")} value={amount(envelope.held)} field="held" />
      </dl>
      {envelope.forecast_at_ms !== null && (
        <p className="mt-1 text-[0.8125rem] text-muted">{t("budget.lasts", { date: day(envelope.forecast_at_ms) })}</p>
      )}
    </li>
  );
}

function Amount({ name, value, field }: { name: string; value: string; field: string }) {
  return (
    <div>
      <dt className="text-[0.75rem] text-muted">{name}</dt>
      <dd data-amount={field}>{value}</dd>
    </div>
  );
}

/** What is not used yet. Some of it may be reserved: gateways reserve ahead and give back what they do not need. */
function leftOf(envelope: Envelope): number {
  return Math.max(0, envelope.cap - envelope.used);
}
