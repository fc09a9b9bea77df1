import { useHub } from "../app/hub";
import { useT } from "../i18n";

export function ModelPicker() {
  const t = useT();
  const { models, model, setModel } = useHub();
  const names = models?.data.map((one) => one.id) ?? [];
  return (
    <label className="min-w-0">
      <span className="sr-only">{t("model.label")}</span>
      <select
        className="h-9 max-w-full truncate rounded-lg border border-transparent bg-transparent px-2 font-semibold hover:border-line hover:bg-wash"
        value={model}
        disabled={!names.length}
        onChange={(event) => setModel(event.target.value)}
      >
        {!names.length && <option value="">{t("model.none")}</option>}
        {names.map((name) => (
          <option key={name} value={name}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
}
