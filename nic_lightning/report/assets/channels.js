// Bits of each latent channel at every operating point of a curve.
later(() => {
  const home = byId("channel-rates");
  if (!home) return;
  const place = element("div", { class: "plot tall", id: "channel-plot" });
  const here = () => data.channels.filter((one) => one.dataset === state.dataset);
  let chosen = "";
  let sortedOut = true;

  function figure() {
    const one = here().find((found) => found.key === chosen);
    if (!one) return { data: [], layout: {} };
    const shade = (i) => `hsl(215 65% ${72 - (44 * i) / Math.max(one.points.length - 1, 1)}%)`;
    const traces = one.points.map((point, i) => {
      const bits = sortedOut ? [...point.bpp].sort((a, b) => b - a) : point.bpp;
      return {
        type: "scatter",
        mode: "lines",
        name: plain(point.label),
        x: bits.map((_, channel) => channel),
        y: bits,
        line: { color: shade(i), width: 1.8, shape: "hvh" },
        hovertemplate: `${sortedOut ? "rank" : "channel"} %{x}: %{y:.3g} ${plain(medium().unit)}<extra>%{fullData.name}</extra>`,
      };
    });
    const axis = sortedOut ? "channels, from the most bits to the least" : "channel";
    const layout = {
      xaxis: { title: { text: axis, standoff: 8 }, zeroline: false },
      yaxis: { title: { text: medium().axis.replace(/^rate \[(.*)\]$/, "$1"), standoff: 8 }, rangemode: "tozero" },
      showlegend: traces.length > 1,
      legend: { orientation: "h", y: -0.2, yanchor: "top" },
    };
    return { data: traces, layout };
  }

  const list = picker("codec and latent", [], "", (key) => {
    chosen = key;
    plot(place, figure);
  }, "channel-curve");
  const box = element("input", { type: "checkbox", checked: "", id: "channel-sort", change: () => {
    sortedOut = box.checked;
    plot(place, figure);
  } });
  const none = element("p", { class: "note" }, "No run recorded channel rates on this data set.");
  const panel = element("div", { class: "panel" }, place);
  const controls = element("div", { class: "controls" }, list, element("label", { class: "picker" }, box, element("span", {}, "sorted by bits")));
  home.append(...[datasetTabs(), controls, none, panel].filter(Boolean));

  function update() {
    const found = here();
    refill(list.querySelector("select"), found.map((one) => [one.name, one.key]), chosen);
    chosen = list.querySelector("select").value;
    controls.hidden = panel.hidden = !found.length;
    none.hidden = found.length > 0;
    plot(place, figure);
  }
  onChange((changes) => {
    if ("dataset" in changes) update();
  });
  update();
});
