// BD-rate and BD-quality against an anchor of the reader's choice, and of every pair.
const deltas = (() => {
  const anchors = new Map(Object.entries(data.deltas).map(([dataset, found]) => [dataset, found.anchor]));
  const pair = (anchor, test) => data.deltas[state.dataset]?.pairs[`${anchor},${test}`];
  return {
    anchor: () => anchors.get(state.dataset),
    anchors: () => data.deltas[state.dataset]?.anchors ?? [],
    setAnchor(index) {
      anchors.set(state.dataset, index);
      choose({ anchor: index });
    },
    /** {value, interval, overlap, part} or {problem}; undefined when it was not worked out. */
    get: (anchor, test, metric, kind) => pair(anchor, test)?.[metric]?.[kind === "rate" ? 0 : 1],
  };
})();

later(() => {
  const home = byId("deltas");
  if (!home) return;
  const MAX_MATRIX = 16;
  const name = (index) => data.curves[index].name;
  const named = (index, ...more) => element("td", { class: "name" }, glyph(data.curves[index]), ...more, name(index));

  /** Less rate is good, more quality is good; but less LPIPS. */
  function verdict(value, kind, metric) {
    const gain = kind === "rate" || metric.lower ? -value : value;
    const same = kind === "rate" ? 0.05 : 0.5 * 10 ** -metric.digits;
    return Math.abs(value) < same ? "same" : gain > 0 ? "good" : "bad";
  }

  const amount = (value, kind, metric) => (kind === "rate" ? signed(value, 1, " %") : signed(value, metric.digits, metric.unit));

  function valueCell(found, kind, metric) {
    if (!found) return element("td", { class: "n muted" }, "–");
    if (found.problem) return element("td", { class: "n muted", title: found.problem }, "none");
    return element("td", { class: "n" }, element("span", { class: verdict(found.value, kind, metric) }, amount(found.value, kind, metric)));
  }

  function intervalCell(found, kind, metric) {
    const ends = found?.interval;
    const text = ends ? `${amount(ends[0], kind, metric)} … ${amount(ends[1], kind, metric)}` : "–";
    return element("td", { class: "n muted", title: found?.note }, text);
  }

  function overlapCell(found, digits, unit) {
    if (!found?.overlap) return element("td", { class: "n muted" }, "–");
    const [low, high] = found.overlap;
    const text = `${shown(low, digits)}–${shown(high, digits)}${unit}, ${(100 * found.part).toFixed(0)} %`;
    return element("td", { class: found.part < 0.5 ? "n weak" : "n" }, text);
  }

  function header(cells) {
    return element("thead", {}, element("tr", {}, ...cells.map(([text, kind, title]) => element("th", { class: kind, title }, text))));
  }

  /** Every curve against the anchor: rate, quality, their intervals, what they speak of. */
  function against(anchor) {
    const metric = metricOf(state.metric);
    const heads = [["codec", ""], [`BD-rate, ${metric.name}`, "n"], ["95 % interval", "n"], ["over", "n"]];
    heads.push([`BD-${metric.name}`, "n"], ["95 % interval", "n"], ["over", "n"]);
    const body = element("tbody");
    const notes = new Set();
    for (const test of curvesShown()) {
      if (test === anchor) continue;
      const rate = deltas.get(anchor, test, metric.key, "rate");
      const quality = deltas.get(anchor, test, metric.key, "quality");
      const cells = [valueCell(rate, "rate", metric), intervalCell(rate, "rate", metric), overlapCell(rate, metric.digits, metric.unit)];
      cells.push(valueCell(quality, "quality", metric), intervalCell(quality, "quality", metric), overlapCell(quality, 3, ` ${medium().unit}`));
      body.append(element("tr", {}, named(test), ...cells));
      for (const found of [rate, quality]) if (found?.problem ?? found?.note) notes.add(`${name(test)}: ${found.problem ?? found.note}`);
    }
    const list = element("ul", { class: "notes" }, ...[...notes].map((text) => element("li", {}, text)));
    return [element("div", { class: "scroll" }, element("table", { id: "against" }, header(heads), body)), notes.size ? list : null];
  }

  /** Every pair; the anchor's column stands out. */
  function matrix(kind, anchor) {
    const metric = metricOf(state.metric);
    const here = curvesShown();
    const columns = here.filter((index) => deltas.anchors().includes(index));
    if (here.length < 3 || columns.length < 2 || here.length > MAX_MATRIX) return null;
    const body = element("tbody");
    for (const [place, test] of here.entries()) {
      const row = element("tr", {}, named(test, element("span", { class: "muted" }, `${place + 1} `)));
      for (const column of columns) {
        const cell = column === test ? element("td", { class: "n muted" }, "–") : valueCell(deltas.get(column, test, metric.key, kind), kind, metric);
        if (column === anchor) cell.classList.add("chosen");
        row.append(cell);
      }
      body.append(row);
    }
    const heads = [["codec \\ anchor", ""], ...columns.map((index) => [String(here.indexOf(index) + 1), index === anchor ? "n chosen" : "n", name(index)])];
    const title = `${kind === "rate" ? "BD-rate" : `BD-${metric.name}`} of every pair`;
    const box = element("div", { class: "scroll" }, element("table", { class: "matrix" }, header(heads), body));
    return element("details", { open: "" }, element("summary", {}, title), box);
  }

  const anchorList = picker("anchor", [], "", (index) => deltas.setAnchor(Number(index)), "anchor");
  const metricList = picker("over", metricsHere().map((metric) => [metric.name, metric.key]), state.metric, (metric) => choose({ metric }), "metric");
  const body = element("div");
  home.append(...[datasetTabs(), element("div", { class: "controls" }, anchorList, metricList), body].filter(Boolean));

  function update() {
    const anchor = deltas.anchor();
    refill(anchorList.querySelector("select"), deltas.anchors().map((index) => [name(index), String(index)]), String(anchor));
    refill(metricList.querySelector("select"), metricsHere().map((metric) => [metric.name, metric.key]), metricOf(state.metric)?.key);
    if (anchor === undefined || curvesHere().length < 2 || !metricOf(state.metric)) {
      body.replaceChildren(element("p", { class: "note" }, "There is one curve only on this data set."));
      return;
    }
    const missing = curvesHere().length - deltas.anchors().length;
    const few = missing ? element("p", { class: "note" }, `${counted(missing, "curve", ["is no anchor", "are no anchors"])} on this page, to keep it small; --anchor NAME chooses another one.`) : null;
    body.replaceChildren(...[...against(anchor), matrix("rate", anchor), matrix("quality", anchor), few].filter(Boolean));
  }
  onChange((changes) => {
    if ("dataset" in changes || !("image" in changes)) update();
  });
  update();
});
