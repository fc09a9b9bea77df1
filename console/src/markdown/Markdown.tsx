import { memo, useEffect, useRef, type MouseEvent } from "react";
import { t } from "../i18n";
import { SealedRenderer } from "./sealed";

/** Text that may still grow: what it is now, whether it is all, and how to hear of more. */
export interface TextSource {
  read(): { text: string; final: boolean };
  subscribe(listener: () => void): () => void;
}

/** A finished text as a source. */
export function fixed(text: string): TextSource {
  return { read: () => ({ text, final: true }), subscribe: () => () => {} };
}

/** Markdown that streams. React only holds the place; the renderer owns what is inside. */
export const Markdown = memo(function Markdown({ source }: { source: TextSource }) {
  const host = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const place = host.current;
    if (!place) return;
    const renderer = new SealedRenderer(place);
    const take = () => {
      const { text, final } = source.read();
      renderer.update(text, final);
    };
    take();
    const unsubscribe = source.subscribe(take);
    return () => {
      unsubscribe();
      renderer.dispose();
      place.replaceChildren();
    };
  }, [source]);
  return <div className="md" ref={host} onClick={copyCode} />;
});

function copyCode(event: MouseEvent<HTMLElement>): void {
  const button = (event.target as HTMLElement).closest<HTMLButtonElement>("button[data-copy]");
  const code = button?.closest(".md-code")?.querySelector("code")?.textContent;
  if (!button || code == null) return;
  void navigator.clipboard.writeText(code).then(() => {
    button.textContent = t("app.copied");
    setTimeout(() => (button.textContent = t("app.copy")), 1500);
  });
}
