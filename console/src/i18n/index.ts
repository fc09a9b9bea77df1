import { useSyncExternalStore } from "react";
import { en, type Key } from "./en";
import { zh } from "./zh";

export type Language = "en" | "zh-CN";
const listeners = new Set<() => void>();
let language: Language = document.documentElement.lang.startsWith("zh") ? "zh-CN" : "en";

/** Switch the whole page; remembered on this device. */
export function setLanguage(next: Language): void {
  language = next;
  document.documentElement.lang = next;
  try {
    localStorage.setItem("language", next);
  } catch {
    // A private window forgets; that is fine.
  }
  for (const listener of listeners) listener();
}

export function currentLanguage(): Language {
  return language;
}

/** The text of `key` in the current language, with `{name}` filled in. */
export function t(key: Key, values?: Record<string, string | number>): string {
  const text = (language === "zh-CN" ? zh : en)[key];
  return values ? text.replace(/\{(\w+)\}/g, (_, name: string) => String(values[name] ?? "")) : text;
}

/** `t`, and the component renders again when the language changes. */
export function useT(): typeof t {
  useSyncExternalStore(subscribe, currentLanguage);
  return t;
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export type { Key };
