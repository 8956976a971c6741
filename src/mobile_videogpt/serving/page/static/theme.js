// Light, dark, or as the system has it. A classic script in the head, so that nothing flashes.
(() => {
  const NAMES = { system: "as the system", light: "light", dark: "dark" };
  const ORDER = Object.keys(NAMES);

  function stored() {
    try {
      const name = localStorage.getItem("theme");
      return ORDER.includes(name) ? name : "system";
    } catch {
      return "system"; // a browser that keeps nothing
    }
  }

  function apply(name) {
    document.documentElement.dataset.theme = name;
    const button = document.getElementById("theme");
    if (button) {
      button.setAttribute("aria-label", `Colours: ${NAMES[name]}. Change`);
      button.title = `Colours: ${NAMES[name]}`;
    }
  }

  let current = stored();
  apply(current);
  document.addEventListener("DOMContentLoaded", () => {
    apply(current);
    document.getElementById("theme")?.addEventListener("click", () => {
      current = ORDER[(ORDER.indexOf(current) + 1) % ORDER.length];
      try {
        localStorage.setItem("theme", current);
      } catch {
        // It holds for this visit.
      }
      apply(current);
    });
  });
})();
