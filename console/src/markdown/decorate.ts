import { t } from "../i18n";

/** Give code its head (language, copy button), tables a scroll area, links a safe target. Changes `root` in place. */
export function decorate(root: ParentNode): void {
  for (const pre of root.querySelectorAll("pre")) wrapCode(pre);
  for (const table of root.querySelectorAll("table")) {
    const area = element("div", "md-table");
    area.tabIndex = 0;
    area.setAttribute("role", "region");
    area.setAttribute("aria-label", t("code.table"));
    table.replaceWith(area);
    area.append(table);
  }
  for (const link of root.querySelectorAll("a")) {
    if (!link.hasAttribute("href")) continue;
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
    link.title = link.href;
  }
}

/** A code block with `text`, which may still grow (its text node is returned). */
export function codeBlock(language: string, text: string): { block: HTMLElement; text: Text } {
  const pre = element("pre");
  const code = element("code", language ? `language-${language}` : "");
  const node = document.createTextNode(text);
  code.append(node);
  pre.append(code);
  const holder = element("div");
  holder.append(pre);
  wrapCode(pre);
  return { block: holder, text: node };
}

/** Name of the language of a code element, "" where none was given. */
export function languageOf(code: Element): string {
  return /language-([\w+#.-]+)/.exec(code.className)?.[1]?.toLowerCase() ?? "";
}

function wrapCode(pre: HTMLElement): void {
  const figure = element("div", "md-code");
  const head = element("div", "md-code-head");
  const name = element("span");
  const code = pre.querySelector("code");
  name.textContent = (code && languageOf(code)) || t("code.text");
  const copy = element("button", "md-copy");
  copy.type = "button";
  copy.dataset["copy"] = "";
  copy.textContent = t("app.copy");
  copy.setAttribute("aria-label", t("code.copy"));
  head.append(name, copy);
  pre.replaceWith(figure);
  pre.tabIndex = 0;
  figure.append(head, pre);
}

function element<K extends keyof HTMLElementTagNameMap>(tag: K, className = ""): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  if (className) made.className = className;
  return made;
}
