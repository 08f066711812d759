// Rate-distortion curves: of a data set's means, or of one image; one legend for all plots.
(() => {
  const home = byId("rd");
  if (!home) return;
  const MANY = 14;

  /** Items of the chosen data set, in the order of the table. */
  function images() {
    const { count, codes, names } = table();
    const dataset = names.dataset.indexOf(state.dataset);
    const seen = new Set();
    for (let row = 0; row < count; row++) if (codes.dataset[row] === dataset) seen.add(codes.item[row]);
    return [...seen].map((code) => names.item[code]);
  }

  /** The points of every curve on one image, from the rows: curve index -> points by rate. */
  const ofImage = (() => {
    let key, kept;
    return () => {
      const wanted = `${state.dataset}\n${state.image}`;
      if (key === wanted) return kept;
      const { count, codes, names, numbers, curve } = table();
      const dataset = names.dataset.indexOf(state.dataset), item = names.item.indexOf(state.image);
      kept = new Map();
      for (let row = 0; row < count; row++) {
        if (codes.item[row] !== item || codes.dataset[row] !== dataset || curve[row] < 0) continue;
        const point = { label: names.label[codes.label[row]], run: names.run[codes.run[row]] };
        for (const name of Object.keys(numbers)) point[name] = numbers[name][row];
        if (!kept.has(curve[row])) kept.set(curve[row], []);
        kept.get(curve[row]).push(point);
      }
      for (const points of kept.values()) points.sort((a, b) => a[medium().rate] - b[medium().rate]);
      key = wanted;
      return kept;
    };
  })();

  const pointsOf = (index, metric) => (state.image ? (ofImage().get(index) ?? []) : pointsOver(data.curves[index], metric));

  function hover(curve, point) {
    const lines = [`<b>${plain(curve.name)}</b>  ${plain(point.label)}`, `${shown(point[medium().rate], 4)} ${plain(medium().unit)}`];
    const estimated = point[medium().estimated];
    if (isNumber(estimated)) lines[1] += ` (${shown(estimated, 4)} estimated)`;
    for (const metric of metricsHere()) {
      if (isNumber(point[metric.key])) lines.push(`${metric.name} ${shown(point[metric.key], metric.digits)}${metric.unit}`);
    }
    lines.push(state.image ? plain(state.image) : curve.published ? "published" : `mean of ${counted(point.images, medium().item)}`);
    if (point.run && !curve.published) {
      const step = data.steps[point.run];
      lines.push(`run ${plain(point.run)}${step === undefined ? "" : `, ${step.toLocaleString("en")} steps`}`);
    }
    return lines.join("<br>");
  }

  function trace(index, metric) {
    const curve = data.curves[index];
    const points = pointsOf(index, metric).filter((point) => Number.isFinite(point[metric]));
    const thin = curve.classic || curve.published;
    return {
      type: "scatter",
      mode: "lines+markers",
      name: plain(curve.name),
      x: points.map((point) => point[medium().rate]),
      y: points.map((point) => point[metric]),
      text: points.map((point) => hover(curve, point)),
      hovertemplate: "%{text}<extra></extra>",
      line: { color: curve.colour, width: thin ? 1.6 : 2.2, dash: curve.published ? "dot" : curve.classic ? "dash" : "solid" },
      marker: { size: thin ? 5 : 8, color: curve.colour, symbol: curve.symbol },
    };
  }

  /** The learned curves and a little more: a classic codec's best quality would squeeze them into a corner. */
  function window_(traces, indices) {
    const learned = traces.filter((_, k) => !data.curves[indices[k]].classic && !data.curves[indices[k]].published);
    const rates = learned.flatMap((one) => one.x);
    if (!rates.length) return null;
    const right = 1.25 * Math.max(...rates);
    const values = traces.flatMap((one) => one.y.filter((_, k) => one.x[k] <= right));
    const low = Math.min(...values), high = Math.max(...values);
    const margin = 0.06 * (high - low) || 0.5;
    return [[0, right], [low - margin, high + margin]];
  }

  function figure(metric) {
    const indices = curvesShown();
    const traces = indices.map((index) => trace(index, metric.key));
    const layout = {
      xaxis: { title: { text: medium().axis, standoff: 8 }, zeroline: false },
      yaxis: { title: { text: metric.title, standoff: 8 }, zeroline: false },
      showlegend: false,
    };
    const seen = window_(traces, indices);
    if (seen) [layout.xaxis.range, layout.yaxis.range] = seen;
    for (const [axis, log] of [["xaxis", medium().log], ["yaxis", metric.log]]) {
      if (!log) continue;
      layout[axis].type = "log";
      delete layout[axis].range;
    }
    return { data: traces, layout };
  }

  function toggle(name) {
    const hidden = new Set(state.hidden);
    if (!hidden.delete(name)) hidden.add(name);
    choose({ hidden });
  }

  function chip(curve) {
    const made = element("button", { class: "chip", "data-curve": curve.name, click: () => toggle(curve.name) }, glyph(curve), curve.name);
    made.setAttribute("aria-pressed", String(!state.hidden.has(curve.name)));
    return made;
  }

  const chips = element("div", { class: "chips", id: "legend" });
  const filter = element("input", { type: "search", placeholder: "filter codecs", "aria-label": "filter codecs", input: fillLegend });
  const imageList = picker(data.item, [], "", (image) => choose({ image }), "image");

  function names(only = () => true) {
    return [...new Set(curvesHere().filter((i) => only(data.curves[i])).map((i) => data.curves[i].name))];
  }

  function fillLegend() {
    const words = filter.value.toLowerCase();
    const here = curvesHere().map((i) => data.curves[i]).filter((curve) => curve.name.toLowerCase().includes(words));
    chips.replaceChildren(...here.map(chip));
  }

  /** Show or hide at once all curves that the filter names. */
  function setAll(visible, only = () => true) {
    const words = filter.value.toLowerCase();
    const hidden = new Set(state.hidden);
    for (const name of names(only)) {
      if (name.toLowerCase().includes(words)) hidden[visible ? "delete" : "add"](name);
    }
    choose({ hidden });
  }

  function fillImages() {
    refill(imageList.querySelector("select"), [[`mean of all ${medium().item}s`, ""], ...images().map((name) => [name, name])], state.image);
  }

  function controls() {
    const bar = element("div", { class: "controls" }, imageList);
    if (data.curves.length > MANY) bar.append(filter);
    bar.append(element("button", { click: () => setAll(true) }, "show all"), element("button", { click: () => setAll(false) }, "hide all"));
    if (data.curves.some((curve) => curve.published)) {
      const isPublished = (curve) => curve.published;
      const box = element("input", { type: "checkbox", id: "published", checked: "", change: () => setAll(box.checked, isPublished) });
      bar.append(element("label", { class: "picker" }, box, element("span", {}, "published curves")));
    }
    return bar;
  }

  /** With very many curves the page opens with those that can still be told apart. */
  function hideTheRest() {
    const known = [...new Set(data.curves.map((curve) => curve.name))];
    const first = data.curves.filter((curve) => curve.classic || curve.published).map((curve) => curve.name);
    const kept = new Set([...new Set([...first, ...known])].slice(0, data.opens_with));
    state.hidden = new Set(known.filter((name) => !kept.has(name)));
    return known.length - kept.size;
  }

  const places = new Map();
  const plots = element("div", { class: "plots" });
  const rest = hideTheRest();
  const note = rest ? `${counted(rest, "more curve", ["is", "are"])} in the legend: click one to see it, or filter.` : "";
  home.append(...[datasetTabs(), controls(), chips, note ? element("p", { class: "note" }, note) : null, plots].filter(Boolean));
  for (const metric of data.metrics) {
    const place = element("div", { class: "plot", id: metric.medium === data.metrics[0].medium ? `rd-${metric.key}` : `rd-${metric.medium}-${metric.key}` });
    const about = element("p", { class: "note" });
    const panel = element("div", { class: "panel" }, element("h3", {}, metric.title), about, place);
    plots.append(panel);
    places.set(metric, { place, panel, about });
  }
  /** `changes`: null when the page opens, which then draws before anything else. */
  function update(changes) {
    if (!changes || "dataset" in changes || "image" in changes) fillImages();
    if (!changes || "dataset" in changes || "hidden" in changes) fillLegend();
    for (const [metric, { place, panel, about }] of places) {
      const gap = state.image ? undefined : data.gaps[state.dataset]?.[metric.key];
      about.textContent = gap ? `Rates and quality over ${gap}.` : "";
      about.hidden = !gap;
      panel.hidden = metric.medium !== nameOfMedium() || !curvesHere().some((i) => curveHas(data.curves[i], metric.key));
      if (!panel.hidden) (changes ? plot : plotNow)(place, () => figure(metric));
    }
  }
  onChange((changes) => {
    if ("dataset" in changes || "image" in changes || "hidden" in changes) update(changes);
  });
  update(null);
})();
