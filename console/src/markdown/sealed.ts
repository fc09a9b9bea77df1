import type { Token, Tokens } from "marked";
import { codeBlock, decorate } from "./decorate";
import { forget, request, type FrameWork } from "./frames";
import { highlightWhenIdle } from "./idle";
import { hasDefinitions, lex, toFragment } from "./sanitise";

const LIVE_TOKENS = 2;
/** After a flush that took d ms, the next comes no sooner than d times this: streaming takes a quarter of the time at most. */
const REST_FACTOR = 3;

interface Live {
  token: Token;
  node: HTMLElement;
  text: Text | null;
}

/**
 * Renders markdown that grows. Everything but the last two top-level tokens is sealed: parsed, sanitised and appended once,
 * never touched again. Only the tail behind the sealed prefix is lexed anew, at most once a frame.
 */
export class SealedRenderer implements FrameWork {
  notBefore = 0;
  private text = "";
  private sealed = 0;
  private final = false;
  private live: Live[] = [];
  private ready: Token[] = [];
  private done = false;

  constructor(private readonly host: HTMLElement) {}

  /** The whole text so far; `final` when nothing will follow. Renders in the next frame. */
  update(text: string, final: boolean): void {
    const whole = text.includes("\r") ? text.replace(/\r\n?/g, "\n") : text;
    if (!whole.startsWith(this.text)) this.reset();
    if (this.done && final && whole === this.text) return;
    this.text = whole;
    this.final = final;
    this.done = false;
    request(this);
  }

  /** Stop for good. */
  dispose(): void {
    forget(this);
  }

  private reset(): void {
    this.sealed = 0;
    this.text = "";
    this.live = [];
    this.ready = [];
    this.host.replaceChildren();
  }

  /** One frame's share. */
  work(deadline: number): boolean {
    const start = performance.now();
    if (!this.ready.length) this.lexTail();
    do {
      const token = this.ready.shift();
      if (token) this.seal(token);
    } while (this.ready.length && performance.now() < deadline);
    const left = this.ready.length > 0;
    this.done = this.final && !left;
    this.host.toggleAttribute("data-rendered", this.done);
    if (!this.final) this.notBefore = performance.now() + (performance.now() - start) * REST_FACTOR;
    return left;
  }

  /** Split the tail into what can be sealed (`ready`) and what stays live. */
  private lexTail(): void {
    if (this.final && this.sealed > 0 && hasDefinitions(this.text)) {
      const text = this.text;
      if (text.slice(0, this.sealed).includes("[")) {
        this.reset();
        this.text = text;
      }
    }
    const tail = this.text.slice(this.sealed);
    if (!tail) {
      this.showLive([]);
      return;
    }
    const tokens = lex(tail);
    const exact = tokens.reduce((length, token) => length + token.raw.length, 0) === tail.length;
    if (this.final) {
      this.notBefore = 0;
      this.showLive([]);
      this.ready = tokens;
      if (!exact) this.sealAllAtOnce();
      return;
    }
    let keep = 0;
    let from = tokens.length;
    while (from > 0 && keep < LIVE_TOKENS) {
      from -= 1;
      if (tokens[from]?.type !== "space") keep += 1;
    }
    const settled = exact ? tokens.slice(0, from) : [];
    this.adopt(settled.filter((token) => token.type !== "space").length);
    this.ready = settled;
    this.showLive(tokens.slice(settled.length));
  }

  /** Live nodes of tokens that are about to be sealed go; they come back sealed. */
  private adopt(count: number): void {
    for (const gone of this.live.splice(0, count)) gone.node.remove();
  }

  private sealAllAtOnce(): void {
    for (const token of this.ready.splice(0)) this.seal(token);
    this.sealed = this.text.length;
  }

  private seal(token: Token): void {
    this.sealed += token.raw.length;
    if (token.type === "space") return;
    const block = document.createElement("div");
    block.className = "md-block";
    block.append(render(token));
    const firstLive = this.live[0]?.node;
    if (firstLive) firstLive.before(block);
    else this.host.append(block);
    highlightWhenIdle(block);
  }

  /** Bring the live nodes to these tokens; a growing code block only grows its text. */
  private showLive(tokens: Token[]): void {
    const shown = tokens.filter((token) => token.type !== "space");
    const next: Live[] = [];
    for (const [index, token] of shown.entries()) {
      const old = this.live[index];
      if (old && old.token.type === token.type && old.token.raw === token.raw) {
        next.push(old);
        continue;
      }
      const grown = old ? grow(old, token) : null;
      if (grown) {
        next.push(grown);
        continue;
      }
      const made = makeLive(token);
      if (old) old.node.replaceWith(made.node);
      else this.host.append(made.node);
      next.push(made);
    }
    for (const extra of this.live.slice(shown.length)) extra.node.remove();
    this.live = next;
  }
}

function grow(old: Live, token: Token): Live | null {
  if (!old.text || token.type !== "code" || old.token.type !== "code") return null;
  const before = old.token as Tokens.Code;
  const now = token as Tokens.Code;
  if (before.lang !== now.lang || !now.text.startsWith(old.text.data)) return null;
  old.text.appendData(now.text.slice(old.text.data.length));
  return { ...old, token };
}

function makeLive(token: Token): Live {
  if (token.type === "code") {
    const code = token as Tokens.Code;
    const { block, text } = codeBlock(languageName(code.lang), code.text);
    block.className = "md-live";
    return { token, node: block, text };
  }
  const node = document.createElement("div");
  node.className = "md-live";
  node.append(render(token));
  return { token, node, text: null };
}

function render(token: Token): Node {
  if (token.type === "code") {
    const code = token as Tokens.Code;
    return codeBlock(languageName(code.lang), code.text).block;
  }
  const fragment = toFragment([token]);
  decorate(fragment);
  return fragment;
}

function languageName(info: string | undefined): string {
  return /^[\w+#.-]+/.exec(info ?? "")?.[0] ?? "";
}
