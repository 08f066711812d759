"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  // Nothing of this page is to leave the reader's machine: no button that shares a plot.
  const unused = ["lasso2d", "select2d", "sendDataToCloud", "sendChartToCloud"];
  const options = { responsive: true, displaylogo: false, modeBarButtonsToRemove: unused, plotlyServerURL: "" };
  const drawn = new Set();

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  /** Colours that follow the reader's light or dark page. */
  function theme() {
    const clear = "rgba(0,0,0,0)";
    const look = { font: { color: colour("--text"), size: 12 }, paper_bgcolor: clear, plot_bgcolor: clear };
    look.hoverlabel = { align: "left", bgcolor: colour("--card"), font: { color: colour("--text") } };
    look.modebar = { bgcolor: clear, color: colour("--muted"), activecolor: colour("--accent") };
    look["xaxis.gridcolor"] = look["yaxis.gridcolor"] = colour("--grid");
    return look;
  }

  /** Draw the plots that can be seen now; those in a hidden tab wait, since they have no size yet. */
  function draw() {
    for (const place of document.querySelectorAll(".plot")) {
      if (drawn.has(place) || place.offsetParent === null) continue;
      drawn.add(place);
      const figure = figures[place.id];
      Plotly.newPlot(place, figure.data, figure.layout, options).then(() => Plotly.relayout(place, theme()));
    }
  }

  function chooseTab(button) {
    for (const other of button.parentElement.children) {
      const chosen = other === button;
      other.setAttribute("aria-selected", String(chosen));
      document.getElementById(other.dataset.tab).hidden = !chosen;
    }
    draw();
  }

  function toggleCurve(chip) {
    const visible = chip.getAttribute("aria-pressed") !== "true";
    chip.setAttribute("aria-pressed", String(visible));
    for (const place of chip.closest(".rd").querySelectorAll(".plot")) {
      const which = place.data.flatMap((trace, i) => (trace.name === chip.dataset.curve ? [i] : []));
      if (which.length) Plotly.restyle(place, { visible }, which);
    }
  }

  for (const button of document.querySelectorAll("[role=tab]")) {
    button.addEventListener("click", () => chooseTab(button));
  }
  for (const chip of document.querySelectorAll(".chip")) {
    chip.addEventListener("click", () => toggleCurve(chip));
  }

  const dialog = document.querySelector("dialog");
  for (const image of document.querySelectorAll("figure img")) {
    image.addEventListener("click", () => {
      dialog.querySelector("img").src = image.src;
      dialog.querySelector("p").textContent = image.parentElement.querySelector("figcaption").textContent;
      dialog.showModal();
    });
  }
  dialog.addEventListener("click", () => dialog.close());

  const nav = document.querySelector("nav");
  for (const part of document.querySelectorAll("main > section")) {
    const link = document.createElement("a");
    link.href = "#" + part.id;
    link.textContent = part.querySelector("h2").textContent;
    nav.append(link);
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const place of drawn) Plotly.relayout(place, theme());
  });
  draw();
})();
