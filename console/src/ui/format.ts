import { currentLanguage } from "../i18n";

const NANO = 1_000_000_000;
const SYMBOLS: Record<string, string> = { USD: "$", EUR: "€", CNY: "¥", GBP: "£", JPY: "¥" };

/** 1234567 -> "1,234,567". */
export function count(value: number): string {
  return new Intl.NumberFormat(currentLanguage()).format(value);
}

/** 1234567 -> "1.23M": for places with little room. */
export function short(value: number): string {
  return new Intl.NumberFormat(currentLanguage() === "zh-CN" ? "zh-CN" : "en", {
    notation: "compact",
    maximumSignificantDigits: 3,
  }).format(value);
}

/** Nano-units to an exact amount, nothing rounded away: 412000 USD -> "$0.000412". */
export function money(nano: number, currency: string): string {
  const whole = Math.trunc(Math.abs(nano) / NANO);
  const rest = String(Math.abs(nano) % NANO).padStart(9, "0").replace(/0+$/, "").padEnd(2, "0");
  const symbol = SYMBOLS[currency];
  const amount = `${nano < 0 ? "−" : ""}${symbol ?? ""}${count(whole)}.${rest}`;
  return symbol ? amount : `${amount} ${currency}`;
}

/** Nano-units to a short amount for a pill: "$412", "$0.41". */
export function moneyShort(nano: number, currency: string): string {
  return new Intl.NumberFormat(currentLanguage(), {
    style: "currency",
    currency,
    currencyDisplay: "narrowSymbol",
    maximumFractionDigits: Math.abs(nano) < 100 * NANO ? 2 : 0,
  }).format(nano / NANO);
}

export function dateTime(ms: number): string {
  return new Intl.DateTimeFormat(currentLanguage(), { dateStyle: "medium", timeStyle: "medium" }).format(ms);
}

export function day(ms: number): string {
  const sameYear = new Date(ms).getFullYear() === new Date().getFullYear();
  return new Intl.DateTimeFormat(
    currentLanguage(),
    sameYear ? { day: "numeric", month: "short" } : { day: "numeric", month: "short", year: "numeric" },
  ).format(ms);
}
