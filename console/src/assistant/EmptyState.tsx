import { useState } from "react";
import { useHub } from "../app/hub";
import { useT } from "../i18n";
import { Mark } from "../ui/Icon";

/** What a new chat shows: one sentence, three ideas, one command that works as it stands (but for the key). */
export function EmptyState({ onIdea }: { onIdea: (text: string) => void }) {
  const t = useT();
  const { models, model } = useHub();
  if (models && !models.data.length) {
    return (
      <div className="pt-[12vh]">
        <h2 className="text-xl font-semibold">{t("empty.noModels")}</h2>
        <p className="mt-2 text-muted">{t("empty.noModelsLead")}</p>
        <Command text="./hub deploy qwen2.5-coder-0.5b-instruct" />
      </div>
    );
  }
  return (
    <div className="pt-[8vh]">
      <Mark size={38} />
      <h2 className="mt-5 text-2xl font-semibold tracking-tight">{t("empty.title")}</h2>
      <p className="mt-2 max-w-lg text-muted">{t("empty.lead", { model: model || "…" })}</p>
      <ul className="mt-7 divide-y divide-line border-y border-line">
        {(["empty.idea1", "empty.idea2", "empty.idea3"] as const).map((key) => (
          <li key={key}>
            <button type="button" className="w-full rounded-md px-1 py-2.5 text-left hover:text-accent" onClick={() => onIdea(t(key))}>
              {t(key)}
            </button>
          </li>
        ))}
      </ul>
      <div className="mt-8 hidden sm:block">
      <p className="text-muted">{t("empty.api")}</p>
      <Command
        text={`curl ${location.origin}/v1/chat/completions \\\n  -H "Authorization: Bearer $TOKENHUB_KEY" \\\n  -H "Content-Type: application/json" \\\n  -d '{"model": "${model}", "messages": [{"role": "user", "content": "Hello"}]}'`}
      />
      </div>
    </div>
  );
}

/** A command to copy. */
export function Command({ text }: { text: string }) {
  const t = useT();
  const [copied, setCopied] = useState(false);
  return (
    <div className="mt-2 flex items-start gap-2 rounded-lg border border-line bg-code p-2 pl-3">
      <code className="mono min-w-0 flex-1 py-1 [overflow-wrap:anywhere] whitespace-pre-wrap">{text}</code>
      <button
        type="button"
        className="rounded-md px-2 py-1 text-[0.75rem] text-muted hover:bg-wash-2 hover:text-ink"
        onClick={() => {
          void navigator.clipboard.writeText(text).then(() => {
            setCopied(true);
            setTimeout(() => setCopied(false), 1500);
          });
        }}
      >
        {t(copied ? "app.copied" : "app.copy")}
      </button>
    </div>
  );
}
