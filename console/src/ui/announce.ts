let region: HTMLElement | null = null;

/** Let a screen reader say `text` when it is free to. */
export function announce(text: string): void {
  if (!region) {
    region = document.createElement("div");
    region.className = "sr-only top-0";
    region.setAttribute("aria-live", "polite");
    region.setAttribute("role", "log");
    document.body.append(region);
  }
  const line = document.createElement("p");
  line.textContent = text;
  region.append(line);
  while (region.childElementCount > 6) region.firstElementChild?.remove();
}

/** The finished sentences of a growing text behind `from`, as plain words; and where the rest begins. */
export function sentences(text: string, from: number, final: boolean): { words: string; next: number } {
  const part = text.slice(from);
  const end = final ? part.length : lastSentenceEnd(part);
  const words = part
    .slice(0, end)
    .replace(/```[\s\S]*?(```|$)/g, " ")
    .replace(/[*_`#>|]+/g, "")
    .replace(/\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replace(/\s+/g, " ")
    .trim();
  return { words, next: from + end };
}

function lastSentenceEnd(text: string): number {
  if ((text.match(/```/g)?.length ?? 0) % 2) return 0; // inside code
  const ends = [...text.matchAll(/[.!?。！？]["”’)]?(?=\s)|[。！？]|\n\n/g)];
  const last = ends.at(-1);
  return last ? last.index + last[0].length : 0;
}
