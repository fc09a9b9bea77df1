import { useSyncExternalStore } from "react";

/** The areas of the console. A new area adds a line here and in `Shell`. */
export type Route =
  | { area: "assistant"; conversationId: string | null }
  | { area: "usage" }
  | { area: "keys" };

const listeners = new Set<() => void>();
let current = parse(location.pathname);

export function parse(path: string): Route {
  const chat = /^\/c\/([\w-]+)$/.exec(path);
  if (chat?.[1]) return { area: "assistant", conversationId: chat[1] };
  if (path === "/usage") return { area: "usage" };
  if (path === "/keys") return { area: "keys" };
  return { area: "assistant", conversationId: null };
}

/** Go to a page of the console without loading it anew. */
export function navigate(path: string, options?: { replace?: boolean }): void {
  if (options?.replace) history.replaceState(null, "", path);
  else if (path !== location.pathname) history.pushState(null, "", path);
  update();
}

export function useRoute(): Route {
  return useSyncExternalStore(subscribe, () => current);
}

function update(): void {
  current = parse(location.pathname);
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

addEventListener("popstate", update);
