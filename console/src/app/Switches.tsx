import { currentLanguage, setLanguage, useT, type Language } from "../i18n";
import { setTheme, useTheme, type Theme } from "./theme";

/** Two or three choices side by side, as radio buttons. */
export function Segments<T extends string>({
  label,
  name,
  value,
  options,
  onChange,
}: {
  label: string;
  name: string;
  value: T;
  options: { value: T; text: string; lang?: string }[];
  onChange: (value: T) => void;
}) {
  return (
    <fieldset className="inline-flex rounded-lg border border-line bg-wash p-0.5">
      <legend className="sr-only">{label}</legend>
      {options.map((option) => (
        <label
          key={option.value}
          lang={option.lang}
          className="rounded-md px-2.5 py-1 text-[0.8125rem] text-muted has-checked:bg-sheet dark:has-checked:bg-wash-2 has-checked:font-semibold has-checked:text-ink has-focus-visible:outline-2 has-focus-visible:outline-accent"
        >
          <input
            type="radio"
            className="sr-only"
            name={name}
            checked={option.value === value}
            onChange={() => onChange(option.value)}
          />
          {option.text}
        </label>
      ))}
    </fieldset>
  );
}

export function LanguageSwitch() {
  const t = useT();
  return (
    <Segments<Language>
      label={t("language.label")}
      name="language"
      value={currentLanguage()}
      options={[
        { value: "en", text: "English", lang: "en" },
        { value: "zh-CN", text: "中文", lang: "zh-CN" },
      ]}
      onChange={setLanguage}
    />
  );
}

export function ThemeSwitch() {
  const t = useT();
  return (
    <Segments<Theme>
      label={t("theme.label")}
      name="theme"
      value={useTheme()}
      options={[
        { value: "system", text: t("theme.system") },
        { value: "light", text: t("theme.light") },
        { value: "dark", text: t("theme.dark") },
      ]}
      onChange={setTheme}
    />
  );
}
