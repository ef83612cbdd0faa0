// Runs before the first paint: the reader's own choice of theme, or the system's.
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");

  function choice() {
    try {
      return localStorage.getItem("mgx-theme") || "system";
    } catch {
      return "system"; // storage can be forbidden; the system's theme needs none
    }
  }

  function apply() {
    const wanted = choice();
    const isDark = wanted === "dark" || (wanted === "system" && system.matches);
    root.dataset.bsTheme = isDark ? "dark" : "light";
    for (const button of document.querySelectorAll("[data-theme-choice]")) {
      button.setAttribute("aria-pressed", String(button.dataset.themeChoice === wanted));
    }
  }

  root.classList.replace("no-js", "has-js");
  apply();
  system.addEventListener("change", apply);
  document.addEventListener("DOMContentLoaded", apply);
  addEventListener("storage", apply);
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-theme-choice]");
    if (!button) return;
    try {
      localStorage.setItem("mgx-theme", button.dataset.themeChoice);
    } catch {
      root.dataset.bsTheme = button.dataset.themeChoice === "dark" ? "dark" : "light";
      return;
    }
    apply();
  });
})();
