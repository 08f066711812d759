// Plotly: the look of all plots, and drawing them when they come into view.
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const plotOptions = {
  responsive: true,
  displaylogo: false,
  displayModeBar: matchMedia("(hover: hover) and (min-width: 700px)").matches ? "hover" : false,
  // Nothing of this page is to leave the reader's machine: no button that shares a plot.
  modeBarButtonsToRemove: ["lasso2d", "select2d", "sendDataToCloud", "sendChartToCloud"],
  plotlyServerURL: "",
};

/** `layout` with the page's colours, which follow the reader's light or dark. */
function themed(layout) {
  const clear = "rgba(0,0,0,0)";
  const axis = { gridcolor: colour("--grid"), linecolor: colour("--line"), zerolinecolor: colour("--line"), automargin: true };
  const text = colour("--text");
  return {
    margin: { l: 56, r: 12, t: 26, b: 44 },
    hovermode: "closest",
    ...layout,
    font: { color: text, size: 12, family: getComputedStyle(document.body).fontFamily },
    paper_bgcolor: clear,
    plot_bgcolor: clear,
    hoverlabel: { align: "left", bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: text } },
    modebar: { bgcolor: clear, color: colour("--muted"), activecolor: colour("--accent") },
    xaxis: { ...axis, ...layout.xaxis },
    yaxis: { ...axis, ...layout.yaxis },
  };
}

const drawings = new Map();
const inView = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) draw(entry.target);
}, { rootMargin: "300px" });

/** Keep `make`, which gives {data, layout}, and draw with it now or when the place is seen. */
function plot(place, make) {
  drawings.set(place, { make, stale: true });
  inView.unobserve(place);
  inView.observe(place);
}

/** Keep `make` and draw with it at once, seen or not; until Plotly is there, a sketch. */
function plotNow(place, make) {
  plot(place, make);
  drawings.get(place).atOnce = true;
  draw(place);
}

/** Draw again, at once where the place can be seen. */
function redraw(place) {
  const drawing = drawings.get(place);
  if (drawing) plot(place, drawing.make);
}

function draw(place) {
  const drawing = drawings.get(place);
  if (!drawing.stale || place.offsetParent === null) return;
  if (!window.Plotly) {
    if (drawing.atOnce) sketch(place, drawing.make());
    return;
  }
  drawing.stale = false;
  const figure = drawing.make();
  place.querySelector(".sketch")?.remove();
  place.classList.toggle("empty", figure.data.length === 0);
  Plotly.react(place, figure.data, themed(figure.layout), plotOptions).then(() => performance.mark("report-curves"));
}

/** Run Plotly, whose text waits in the page: it takes a second or more, so the rest of the page is shown before. */
function startPlotly() {
  const source = byId("plotly");
  if (window.Plotly || !source) return;
  document.head.append(element("script", {}, source.textContent));
  source.remove();
  for (const [place, drawing] of drawings) drawing.atOnce ? draw(place) : redraw(place);
}
addEventListener("load", () => {
  requestAnimationFrame(() => setTimeout(startPlotly));
  setTimeout(startPlotly, 1000); // a page in the background has no frames
});

for (const place of document.querySelectorAll(".plot[data-figure]")) {
  plot(place, () => data.figures[place.dataset.figure]);
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const place of drawings.keys()) redraw(place);
});

addEventListener("beforeprint", () => {
  startPlotly();
  for (const place of drawings.keys()) draw(place);
});
