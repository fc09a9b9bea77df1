import { useSyncExternalStore } from "react";

export type Theme = "system" | "light" | "dark";
const listeners = new Set<() => void>();
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
let theme: Theme = stored();

function stored(): Theme {
  try {
    const value = localStorage.getItem("theme");
    return value === "light" || value === "dark" ? value : "system";
  } catch {
    return "system";
  }
}

function apply(): void {
  const dark = theme === "dark" || (theme === "system" && prefersDark.matches);
  document.documentElement.dataset["theme"] = dark ? "dark" : "light";
}

export function setTheme(next: Theme): void {
  theme = next;
  try {
    localStorage.setItem("theme", next);
  } catch {
    // A private window forgets; that is fine.
  }
  apply();
  for (const listener of listeners) listener();
}

export function useTheme(): Theme {
  return useSyncExternalStore(subscribe, () => theme);
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

prefersDark.addEventListener("change", apply);
