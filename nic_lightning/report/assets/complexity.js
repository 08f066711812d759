// Rate-distortion-complexity: what a codec costs against what it saves.
later(() => {
  const home = byId("costs");
  if (!home) return;
  const place = element("div", { class: "plot tall", id: "cost-plot" });
  const note = element("p", { class: "note" });
  const key = element("div", { class: "key" });
  const panel = element("div", { class: "panel" }, place, key);
  const known = Object.keys(data.cost_names).filter((cost) => data.costs.some((costs) => costs[cost]));
  let cost = known[0];

  /** Curves with this cost and a BD-rate against the anchor, which itself stands at zero. */
  function found() {
    const anchor = deltas.anchor();
    return curvesShown().flatMap((index) => {
      const spread = data.costs[index][cost];
      const delta = index === anchor ? { value: 0 } : deltas.get(anchor, index, metricOf(state.metric)?.key, "rate");
      return spread && isNumber(delta?.value) ? [{ curve: data.curves[index], spread, delta }] : [];
    });
  }

  function trace({ curve, spread: [low, middle, high], delta }) {
    const [from, to] = delta.interval ?? [delta.value, delta.value];
    const range = low === high ? shortNumber(middle) : `${shortNumber(low)} to ${shortNumber(high)}`;
    const sure = delta.interval ? ` (${signed(from, 1, " %")} … ${signed(to, 1, " %")})` : "";
    return {
      type: "scatter",
      mode: "markers",
      name: plain(curve.name),
      x: [middle],
      y: [delta.value],
      error_x: { type: "data", symmetric: false, array: [high - middle], arrayminus: [middle - low], color: curve.colour, thickness: 1.4, width: 4 },
      error_y: { type: "data", symmetric: false, array: [to - delta.value], arrayminus: [delta.value - from], color: curve.colour, thickness: 1.4, width: 4 },
      marker: { size: 12, color: curve.colour, symbol: curve.symbol },
      hovertemplate: `<b>${plain(curve.name)}</b><br>${range} ${plain(data.cost_names[cost])}<br>BD-rate ${signed(delta.value, 1, " %")}${sure}<extra></extra>`,
    };
  }

  function figure() {
    const traces = found().map(trace);
    const layout = {
      xaxis: { title: { text: data.cost_names[cost], standoff: 8 }, type: "log" },
      yaxis: { title: { text: "BD-rate [%]", standoff: 8 }, rangemode: "tozero", zeroline: true, zerolinewidth: 1 },
      showlegend: false,
    };
    return { data: traces, layout };
  }

  function update() {
    const drawn = found();
    const anchor = deltas.anchor();
    const left = curvesShown().map((index) => data.curves[index]).filter((curve) => drawn.every((one) => one.curve !== curve));
    const name = metricOf(state.metric)?.name;
    const against = anchor === undefined ? "" : `BD-rate over ${name} against ${data.curves[anchor].name}`;
    panel.hidden = !drawn.some((one) => one.curve !== data.curves[anchor]);
    note.textContent = panel.hidden
      ? `No curve here has this cost and a ${against || "BD-rate"}.`
      : `${against}; lower and further left is better. Bars: 95 % interval, and the range over a curve's points.`;
    const names = left.slice(0, 6).map((curve) => curve.name).join(", ") + (left.length > 6 ? ", …" : "");
    if (left.length && !panel.hidden) note.textContent += ` Without this cost or BD-rate: ${names}.`;
    key.replaceChildren(...drawn.map(({ curve }) => element("span", {}, glyph(curve), curve.name)));
    plot(place, figure);
  }

  const list = picker("cost", known.map((key) => [data.cost_names[key], key]), cost, (chosen) => {
    cost = chosen;
    update();
  }, "cost");
  home.append(...[datasetTabs(), element("div", { class: "controls" }, list), note, panel].filter(Boolean));
  onChange((changes) => {
    if ("dataset" in changes || !("image" in changes)) update();
  });
  update();
});
