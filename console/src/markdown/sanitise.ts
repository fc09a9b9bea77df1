import DOMPurify from "dompurify";
import { Marked, type Token, type Tokens } from "marked";

/**
 * Markdown of a model to DOM, in two walls: raw HTML is shown as the text it is (but for a few bare tags), and whatever
 * marked makes then passes DOMPurify's allow-list as a fragment, so nothing is ever serialised and parsed again.
 * Images become links: an image in an answer would call another host.
 */
const BARE_TAG = /&lt;(\/?(?:br|sub|sup|kbd|mark|small|u|s|details|summary)\s*\/?)&gt;/gi;
const TAGS = [
  "p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "strong", "em", "del", "code", "pre", "blockquote", "ul", "ol",
  "li", "table", "thead", "tbody", "tr", "th", "td", "a", "sub", "sup", "kbd", "mark", "small", "u", "s", "details",
  "summary", "span",
];
const CONFIG = {
  ALLOWED_TAGS: TAGS,
  ALLOWED_ATTR: ["href", "title", "align", "start", "class"],
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:)/i,
  ADD_URI_SAFE_ATTR: ["align", "start"],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true as const,
};

const marked = new Marked({
  gfm: true,
  breaks: false,
  renderer: {
    html({ text }: Tokens.HTML | Tokens.Tag): string {
      return escape(text).replace(BARE_TAG, "<$1>");
    },
    image({ href, text }: Tokens.Image): string {
      return `<a href="${escape(href)}">${escape(text || href)}</a>`;
    },
    checkbox({ checked }: Tokens.Checkbox): string {
      return checked ? "☑ " : "☐ ";
    },
  },
});

/** Top-level tokens of `text`; their `raw` texts joined are `text` again. */
export function lex(text: string): Token[] {
  return marked.lexer(text);
}

/** The DOM of some tokens, safe to append. */
export function toFragment(tokens: Token[]): DocumentFragment {
  return clean(marked.parser(tokens));
}

/** Any HTML of ours or of a library, reduced to the allow-list. */
export function clean(html: string): DocumentFragment {
  return DOMPurify.sanitize(html, CONFIG);
}

/** Definitions such as `[1]: https://…` make links of texts that stand before them. */
export function hasDefinitions(text: string): boolean {
  return /^ {0,3}\[[^\]\n]+\]:\s/m.test(text);
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`).replace(/&#60;/g, "&lt;").replace(/&#62;/g, "&gt;");
}
