// Before the first paint: the chosen theme and language, so that nothing flashes.
(function () {
  var theme = null, language = null;
  try { theme = localStorage.getItem("theme"); language = localStorage.getItem("language"); } catch (_) { /* private mode */ }
  var dark = theme === "dark" || (theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  var root = document.documentElement;
  root.dataset.theme = dark ? "dark" : "light";
  root.lang = language || (/^zh/i.test(navigator.language) ? "zh-CN" : "en");
})();
