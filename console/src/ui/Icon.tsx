/** Line icons on a 20 × 20 grid, one stroke width. */
const paths = {
  chat: "M4 4.5h12v9H9l-3.5 3v-3H4z",
  chart: "M4 16V9M8 16V4M12 16v-5M16 16V7",
  key: "M8.2 11.8a3.2 3.2 0 1 1 1.3-1.3L16 17M12.5 13.5l1.5-1.5",
  plus: "M10 4v12M4 10h12",
  send: "M10 16V4M5 9l5-5 5 5",
  stop: "M6 6h8v8H6z",
  menu: "M3 6h14M3 10h14M3 14h14",
  close: "M5 5l10 10M15 5L5 15",
  more: "M5 10h.01M10 10h.01M15 10h.01",
  copy: "M7.5 7.5h8v8h-8zM5 12.5h-.5v-8h8V5",
  edit: "M4 16l.8-3.2L13 4.6 15.4 7l-8.2 8.2z",
  redo: "M15.5 8.5A6 6 0 1 0 16 12M16 4v4.5h-4.5",
  left: "M12 5l-5 5 5 5",
  right: "M8 5l5 5-5 5",
  down: "M10 4v12M5 11l5 5 5-5",
  search: "M9 14A5 5 0 1 0 9 4a5 5 0 0 0 0 10zM13 13l3.5 3.5",
  gear: "M3 6h8M15 6h2M3 14h2M9 14h8M13 4v4M7 12v4",
  out: "M12 4h4v12h-4M3 10h9M9 7l3 3-3 3",
  check: "M4 10.5l4 4 8-9",
} as const;

export type IconName = keyof typeof paths;

export function Icon({ name, size = 18 }: { name: IconName; size?: number }) {
  return (
    <svg
      aria-hidden="true"
      width={size}
      height={size}
      viewBox="0 0 20 20"
      fill={name === "stop" ? "currentColor" : "none"}
      stroke="currentColor"
      strokeWidth={name === "more" ? 2.4 : 1.6}
      strokeLinecap="round"
      strokeLinejoin="round"
    >
      <path d={paths[name]} />
    </svg>
  );
}

/** The hub's mark: a coin with two bars, both sides of the books alike. */
export function Mark({ size = 26 }: { size?: number }) {
  return (
    <svg aria-hidden="true" width={size} height={size} viewBox="0 0 32 32" className="text-accent">
      <circle cx="16" cy="16" r="13" fill="none" stroke="currentColor" strokeWidth="2.6" />
      <path d="M10 13h12M10 19h12" stroke="currentColor" strokeWidth="2.6" strokeLinecap="round" />
    </svg>
  );
}
