/** A refusal of the hub, with its own sentence. */
export class HubError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly code: string,
  ) {
    super(message);
  }
}

const signedOut = new Set<() => void>();

/** Called when the hub says that the session has ended. */
export function onSignedOut(listener: () => void): () => void {
  signedOut.add(listener);
  return () => signedOut.delete(listener);
}

/** One JSON call to the hub that serves this page. Throws HubError. */
export async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  const init: RequestInit = { method, credentials: "same-origin", headers: { accept: "application/json" } };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { accept: "application/json", "content-type": "application/json" };
  }
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch {
    throw new HubError("", 0, "offline");
  }
  const text = await response.text();
  if (response.ok) return (text ? JSON.parse(text) : null) as T;
  if (response.status === 401 && path !== "/api/session") for (const listener of signedOut) listener();
  throw refusal(text, response.status);
}

function refusal(text: string, status: number): HubError {
  try {
    const error = (JSON.parse(text) as { error?: { message?: string; code?: string } }).error;
    return new HubError(error?.message ?? `HTTP ${status}`, status, error?.code ?? "");
  } catch {
    return new HubError(`HTTP ${status}`, status, "");
  }
}
