"use strict";
// Filters the list of claims; without this script the whole list is shown.
(() => {
  const form = document.getElementById("filters");
  const items = [...document.querySelectorAll(".claims li")];
  const count = document.getElementById("count");

  function fits(item) {
    const asked = new FormData(form);
    const words = asked.get("text").toLowerCase().split(/\s+/);
    if (!words.every((word) => item.dataset.text.includes(word))) return false;
    return [...asked].every(
      ([name, value]) =>
        name === "text" || !value || item.dataset[name].split("|").includes(value),
    );
  }

  function update() {
    for (const item of items) item.hidden = !fits(item);
    const shown = items.filter((item) => !item.hidden).length;
    count.textContent = shown === items.length ? `${shown} claims` : `${shown} of ${items.length} claims`;
  }

  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  update();
})();
