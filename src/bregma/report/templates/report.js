"use strict";
// Draws the figures of the page from its own data; the page's policy allows no other script.
(() => {
  const page = JSON.parse(document.getElementById("data").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const INK = "#333333";

  function dressed(value, ink) {
    if (typeof value === "string") {
      if (value === INK) return ink;
      if (value.startsWith("thumbnail:")) return page.thumbnails[Number(value.slice(10))];
      return value;
    }
    if (Array.isArray(value)) return value.map((item) => dressed(item, ink));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, dressed(v, ink)]));
    }
    return value;
  }

  function draw(place) {
    const figure = dressed(page.figures[Number(place.dataset.figure)], dark.matches ? "#d7dade" : INK);
    figure.layout.dragmode = false; // a thumb that scrolls must not zoom
    Plotly.react(place, figure.data, figure.layout, {
      responsive: true,
      displaylogo: false,
      scrollZoom: false,
      modeBarButtons: [["toImage"]],
      displayModeBar: "hover",
    });
  }

  const places = [...document.querySelectorAll("[data-figure]")];
  places.forEach(draw);
  dark.addEventListener("change", () => places.forEach(draw));

  document.getElementById("copy").addEventListener("click", () => {
    const entries = document.getElementById("bibtex");
    getSelection().selectAllChildren(entries);
    navigator.clipboard?.writeText(entries.textContent).catch(() => {}); // selected in any case
  });
})();
