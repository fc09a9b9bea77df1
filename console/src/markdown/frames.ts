/** Work that is shared out over frames: all renderers of a page together get a few milliseconds of each. */
export interface FrameWork {
  /** Do some work until about `deadline` (performance.now()); true if more is left. */
  work(deadline: number): boolean;
  /** Not to be called before this time. */
  notBefore: number;
}

const FRAME_MS = 12;
const HIDDEN_MS = 500;
const pending = new Set<FrameWork>();
let frame = 0;
let timer = 0;

/** Call `item.work` in one of the next frames. */
export function request(item: FrameWork): void {
  pending.add(item);
  arm();
}

export function forget(item: FrameWork): void {
  pending.delete(item);
}

function arm(): void {
  if (frame || timer || !pending.size) return;
  const now = performance.now();
  const soonest = Math.min(...[...pending].map((item) => item.notBefore));
  if (document.hidden) timer = window.setTimeout(run, HIDDEN_MS); // no frames come while nobody looks
  else if (soonest - now > 20) timer = window.setTimeout(run, soonest - now);
  else frame = requestAnimationFrame(run);
}

function run(): void {
  frame = timer = 0;
  const start = performance.now();
  // The newest first: the end of a thread is what one sees when it opens.
  for (const item of [...pending].reverse()) {
    if (performance.now() - start > FRAME_MS) break;
    if (item.notBefore > start + 8) continue;
    pending.delete(item);
    if (item.work(start + FRAME_MS)) pending.add(item);
  }
  arm();
}

document.addEventListener("visibilitychange", () => {
  if (timer) clearTimeout(timer);
  timer = 0;
  arm();
});
