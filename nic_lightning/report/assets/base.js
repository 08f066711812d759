// Shared by all parts of the page: the data, what the reader has chosen, and small helpers.
performance.mark("report-start");
const data = JSON.parse(document.getElementById("data").textContent);
const state = { dataset: data.datasets[0] ?? "", image: "", metric: data.metrics[0]?.key ?? "", hidden: new Set() };
const listeners = [];

/** What the medium of the chosen data set is called, and its rate: {item, rate, estimated, unit, axis, log}. */
const nameOfMedium = (dataset = state.dataset) => data.medium_of[dataset] ?? Object.keys(data.media)[0];
const medium = (dataset = state.dataset) => data.media[nameOfMedium(dataset)];
const metricsHere = () => data.metrics.filter((metric) => metric.medium === nameOfMedium());
/** The quality of that key, or the first one where the data set's medium has none of it. */
const metricOf = (key) => metricsHere().find((metric) => metric.key === key) ?? metricsHere()[0];

/** Call `listener` whenever the reader chooses another data set, image, metric or set of curves. */
function onChange(listener) {
  listeners.push(listener);
}

function choose(changes) {
  Object.assign(state, changes);
  for (const listener of listeners) listener(changes);
}

/** A new element; texts are set as text, never as HTML. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** What may wait until the curves are drawn. */
const later = (work) => setTimeout(work, 0);
const byId = (id) => document.getElementById(id);
const option = (text, value = text) => element("option", { value }, text);

/** Text for Plotly, which takes some tags for markup. */
const plain = (text) => String(text).replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);

const isNumber = (value) => typeof value === "number" && !Number.isNaN(value);

function shown(value, digits, unit = "") {
  if (!isNumber(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "–";
  return value.toFixed(digits).replace("-", "−") + unit;
}

/** Three digits and a unit: 1.23 k, 45.6 M. */
function shortNumber(value) {
  for (const [size, sign] of [[1e9, " G"], [1e6, " M"], [1e3, " k"]]) {
    if (Math.abs(value) >= size) return Number((value / size).toPrecision(3)) + sign;
  }
  return String(Number(value.toPrecision(3)));
}

function signed(value, digits, unit) {
  return isNumber(value) ? (value > 0 ? "+" : "") + shown(value, digits, unit) : "–";
}

/** "1 image", "2 images"; `verbs` such as ["is", "are"] give the one that fits. */
function counted(count, noun, verbs = null) {
  const text = count === 1 ? `1 ${noun}` : `${count.toLocaleString("en")} ${noun}s`;
  return verbs ? `${text} ${verbs[count === 1 ? 0 : 1]}` : text;
}

function buffer(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes.buffer;
}

const once = (make) => {
  let made;
  return () => (made ??= make());
};

/** The per-image table as typed arrays, decoded when first asked for. */
const table = once(() => {
  const { count, texts, numbers, curve } = data.rows;
  const columns = { count, curve: new Int32Array(buffer(curve)), names: {}, codes: {}, numbers: {} };
  for (const [key, column] of Object.entries(texts)) {
    columns.names[key] = column.names;
    columns.codes[key] = new Uint32Array(buffer(column.codes));
  }
  for (const [key, column] of Object.entries(numbers)) columns.numbers[key] = new Float32Array(buffer(column));
  return columns;
});

/** Indices of the curves on the chosen data set. */
const curvesHere = () => data.curves.flatMap((curve, i) => (curve.dataset === state.dataset ? [i] : []));
const curvesShown = () => curvesHere().filter((i) => !state.hidden.has(data.curves[i].name));
/** Means over the images that have a finite value of the metric, rates too. */
const pointsOver = (curve, metric) => curve.over[metric] ?? curve.points;
const curveHas = (curve, metric) => {
  const points = pointsOver(curve, metric);
  return points.length > 0 && points.every((point) => point[metric] !== null);
};

const GLYPHS = { circle: "●", square: "■", diamond: "◆", "triangle-up": "▲", "triangle-down": "▼", x: "✖", star: "★" };
/** A curve's mark, as the plots draw it. */
function glyph(curve) {
  const made = element("i", { class: `mark${curve.published ? " published" : curve.classic ? " classic" : ""}`, "aria-hidden": "true" }, GLYPHS[curve.symbol]);
  made.style.setProperty("--c", curve.colour);
  return made;
}

/** Buttons that choose the data set in every section at once; nothing when there is only one. */
function datasetTabs() {
  if (data.datasets.length < 2) return null;
  const bar = element("div", { role: "tablist", "aria-label": "data set" });
  for (const name of data.datasets) {
    bar.append(element("button", { role: "tab", click: () => choose({ dataset: name, image: "" }) }, name));
  }
  const mark = () => {
    for (const tab of bar.children) tab.setAttribute("aria-selected", String(tab.textContent === state.dataset));
  };
  onChange(mark);
  mark();
  return bar;
}

/** A labelled <select>; `choices` are [text, value] pairs. */
function picker(label, choices, chosen, change, id = null) {
  const list = element("select", { id, change: () => change(list.value) });
  list.append(...choices.map(([text, value]) => option(text, value)));
  list.value = chosen;
  return element("label", { class: "picker" }, element("span", {}, label), list);
}

function refill(list, choices, chosen) {
  list.replaceChildren(...choices.map(([text, value]) => option(text, value)));
  list.value = choices.some(([, value]) => value === chosen) ? chosen : (choices[0]?.[1] ?? "");
}

/** Give the reader a text file. */
function save(name, text) {
  const link = element("a", { download: name, href: URL.createObjectURL(new Blob([text], { type: "text/csv" })) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
