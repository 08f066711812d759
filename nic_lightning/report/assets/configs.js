// Configurations of chosen runs beside each other: the keys that differ, and nothing else.
later(() => {
  const home = byId("config-differences");
  if (!home) return;
  const { keys, values, runs } = data.configs;
  const names = Object.keys(runs);
  const OPENS_WITH = 4;
  const chosen = new Set(names.slice(0, OPENS_WITH));
  const body = element("div");
  const list = element("div", { class: "choices", id: "config-runs", role: "group", "aria-label": "runs" });
  const filter = element("input", { type: "search", placeholder: "filter runs", "aria-label": "filter runs", input: () => fill() });
  const text = (code) => (code < 0 ? "–" : values[code]);

  function update() {
    const shownRuns = names.filter((name) => chosen.has(name));
    const differing = keys.flatMap((key, k) => (new Set(shownRuns.map((name) => runs[name][k])).size > 1 ? [k] : []));
    if (shownRuns.length < 2 || !differing.length) {
      const sentence = shownRuns.length < 2 ? "Choose two runs or more." : "These runs have the same configuration.";
      body.replaceChildren(element("p", { class: "note" }, sentence));
      return;
    }
    const head = element("thead", {}, element("tr", {}, element("th", {}, "key"), ...shownRuns.map((name) => element("th", { class: "wrap" }, name))));
    const lines = differing.map((k) => element("tr", {}, element("td", { class: "key" }, keys[k]), ...shownRuns.map((name) => element("td", { class: "value" }, text(runs[name][k])))));
    body.replaceChildren(element("div", { class: "scroll" }, element("table", { id: "config-table" }, head, element("tbody", {}, ...lines))));
  }

  function fill() {
    const words = filter.value.toLowerCase();
    list.replaceChildren(...names.filter((name) => name.toLowerCase().includes(words)).map((name) => {
      const box = element("input", { type: "checkbox", checked: chosen.has(name) ? "" : null, change: () => {
        if (box.checked) chosen.add(name);
        else chosen.delete(name);
        update();
      } });
      return element("label", {}, box, element("span", {}, name));
    }));
  }

  const clear = element("button", { click: () => {
    chosen.clear();
    fill();
    update();
  } }, "none");
  home.append(element("div", { class: "controls" }, filter, clear), list, body);
  fill();
  update();
});
