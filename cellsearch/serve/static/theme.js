// A classic script, so that the scheme is set before anything is drawn.
(() => {
  const key = "cellsearch-theme";
  const root = document.documentElement;
  const wished = () => {
    try {
      return localStorage.getItem(key);
    } catch {
      return null;
    }
  };
  const shown = () =>
    root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

  const first = wished();
  if (first === "dark" || first === "light") root.dataset.theme = first;

  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const name = () => {
      const other = shown() === "dark" ? "light" : "dark";
      button.textContent = other === "dark" ? "Dark" : "Light";
      button.setAttribute("aria-label", `Change to the ${other} scheme`);
    };
    button.addEventListener("click", () => {
      root.dataset.theme = shown() === "dark" ? "light" : "dark";
      try {
        localStorage.setItem(key, root.dataset.theme);
      } catch {
        // Private windows may refuse; the choice then lasts as long as the page.
      }
      name();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", name);
    name();
  });
})();
