import { languageOf } from "./decorate";
import { clean } from "./sanitise";

const CHARS_MAX = 20_000;
const queue: Element[] = [];
let running = false;

/** Highlight the code in a finished block, one piece at a time, when the page has nothing better to do. */
export function highlightWhenIdle(block: Element): void {
  for (const code of block.querySelectorAll("pre > code")) {
    if (languageOf(code) && (code.textContent?.length ?? 0) <= CHARS_MAX) queue.push(code);
  }
  if (queue.length && !running) void work();
}

async function work(): Promise<void> {
  running = true;
  const { highlight } = await import("./highlight");
  for (let code = queue.shift(); code; code = queue.shift()) {
    await idle();
    if (!code.isConnected) continue;
    const html = highlight(code.textContent ?? "", languageOf(code));
    if (html !== null) code.replaceChildren(clean(html));
  }
  running = false;
}

function idle(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof requestIdleCallback === "function") requestIdleCallback(() => resolve(), { timeout: 2000 });
    else setTimeout(resolve, 50);
  });
}
