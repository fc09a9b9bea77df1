import type { UsageRow } from "../api/commands";
import { useT } from "../i18n";
import { count, short } from "../ui/format";

const DAYS = 30;
const HEIGHT = 120;
const DAY_MS = 86_400_000;

/** Tokens of the last 30 days, a bar a day: input below, output on top. The table beneath says the same in numbers. */
export function Bars({ rows }: { rows: UsageRow[] }) {
  const t = useT();
  const byDay = new Map(rows.map((row) => [row.group, row]));
  const today = Math.floor(Date.now() / DAY_MS);
  const days = Array.from({ length: DAYS }, (_, index) =>
    new Date((today - DAYS + 1 + index) * DAY_MS).toISOString().slice(0, 10),
  );
  const most = Math.max(1, ...rows.map((row) => row.total_tokens));
  return (
    <figure className="mt-5">
      <svg viewBox={`0 0 ${DAYS * 20} ${HEIGHT + 20}`} className="h-40 w-full" preserveAspectRatio="none" role="img" aria-label={`${t("usage.tokens")}: ${count(rows.reduce((sum, row) => sum + row.total_tokens, 0))}`}>
        <line x1="0" x2={DAYS * 20} y1={HEIGHT + 0.5} y2={HEIGHT + 0.5} stroke="var(--line-strong)" vectorEffect="non-scaling-stroke" />
        {days.map((name, index) => {
          const row = byDay.get(name);
          if (!row) return null;
          const input = (row.prompt_tokens / most) * (HEIGHT - 4);
          const output = (row.completion_tokens / most) * (HEIGHT - 4);
          return (
            <g key={name}>
              <title>{`${name}: ${count(row.prompt_tokens)} ${t("receipt.input")}, ${count(row.completion_tokens)} ${t("receipt.output")}`}</title>
              <rect x={index * 20 + 3} width="14" y={HEIGHT - input} height={input} fill="var(--line-strong)" />
              <rect x={index * 20 + 3} width="14" y={HEIGHT - input - output} height={output} fill="var(--accent)" />
            </g>
          );
        })}
      </svg>
      <figcaption className="num -mt-4 flex justify-between text-[0.75rem] text-muted">
        <span>{days[0]}</span>
        <span className="flex gap-4">
          <span className="flex items-center gap-1.5">
            <span className="h-2.5 w-2.5 rounded-sm bg-line-strong" /> {t("usage.input")}
          </span>
          <span className="flex items-center gap-1.5">
            <span className="h-2.5 w-2.5 rounded-sm bg-accent" /> {t("usage.output")}
          </span>
          <span>max {short(most)}</span>
        </span>
        <span>{days.at(-1)}</span>
      </figcaption>
    </figure>
  );
}
