// Sets light or dark before the first picture, so this is no module: modules
// wait for the page. The choice is the only thing kept in the browser, beside
// whether single keys act.

(() => {
  const NAME = "rowcast-theme";
  const root = document.documentElement;
  const stored = () => {
    try {
      return localStorage.getItem(NAME);
    } catch {
      // Storage may be switched off; the system's choice holds then.
      return null;
    }
  };
  const apply = (theme) => {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
  };
  apply(stored());

  window.rowcastTheme = {
    /** "light", "dark", or "auto": as the system has it. */
    current: () => root.dataset.theme ?? "auto",
    set(theme) {
      apply(theme);
      try {
        if (theme === "auto") localStorage.removeItem(NAME);
        else localStorage.setItem(NAME, theme);
      } catch {
        // It holds until the page is closed.
      }
    },
  };
})();
