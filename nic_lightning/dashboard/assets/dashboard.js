/* The list in the browser: rows that changed are merged in, so that sorting, filters and selection stay. */
"use strict";

window.nic = (() => {
  const grid = () => dash_ag_grid.getApiAsync("runs");
  let group = "";

  async function merge(delta) {
    if (!delta) return;
    const api = await grid();
    if (innerWidth < 600) api.setColumnWidths([{ key: "name", newWidth: 150 }]);
    const add = [], update = [], remove = [];
    for (const row of delta.rows) (api.getRowNode(row.id) ? update : add).push(row);
    if (delta.reset) {
      const kept = new Set(delta.rows.map((row) => row.id));
      api.forEachNode((node) => { if (!kept.has(node.id)) remove.push(node.data); });
    }
    api.applyTransaction({ add, update, remove });
  }

  async function search(text) {
    (await grid()).setGridOption("quickFilterText", text || "");
  }

  async function setGroup(key) {
    group = key || "";
    const api = await grid();
    api.refreshClientSideRowModel("sort");
    api.redrawRows();
  }

  /* Rows of a group stand together, groups in the order of their first rows. */
  function cluster(nodes) {
    if (!group) {
      for (const node of nodes) node.data.cluster = false;
      return;
    }
    const parts = new Map();
    for (const node of nodes) {
      const value = node.data[group] || "";
      if (!parts.has(value)) parts.set(value, []);
      parts.get(value).push(node);
    }
    let at = 0;
    for (const part of parts.values()) {
      part.forEach((node, place) => {
        node.data.cluster = place === 0;
        nodes[at++] = node;
      });
    }
  }

  function chosen(rows) {
    return (rows || []).map((row) => row.id);
  }

  /* The first selection opens the curves: to load what draws them would keep the list waiting. */
  let turned = false;
  function turn(ids, tab) {
    if (turned || !ids.length) return window.dash_clientside.no_update;
    turned = true;
    return tab === "facts" ? "training" : tab;
  }

  async function select() {
    const told = window.dash_clientside.callback_context.triggered;
    if (!told.length || !told[0].value) return;
    const api = await grid();
    const from = told[0].prop_id.replace(/\.n_clicks$/, "");
    if (from === "all") api.selectAll("filtered");
    else if (from === "none") api.deselectAll();
    else {
      const { key, value } = JSON.parse(from);
      const nodes = [];
      api.forEachNode((node) => { if ((node.data[key] || "") === value) nodes.push(node); });
      api.deselectAll();
      api.setNodesSelected({ nodes, newValue: true });
    }
  }

  return { merge, search, group: setGroup, cluster, chosen, turn, select };
})();

window.dashAgGridFunctions = Object.assign(window.dashAgGridFunctions || {}, {
  nicCluster: (params) => window.nic.cluster(params.nodes),
});

window.dashAgGridComponentFunctions = Object.assign(window.dashAgGridComponentFunctions || {}, {
  NicState: ({ value }) => React.createElement("span", { className: "state " + value }, value),
  NicProgress: ({ value }) => value == null ? "–" : React.createElement(
    "span", { className: "progress" },
    React.createElement("i", { style: { width: 100 * value + "%" } }),
    React.createElement("b", null, Math.floor(100 * value) + " %"),
  ),
  NicLeft: ({ value }) => {
    if (value == null) return "–";
    const minutes = Math.round(value / 60);
    if (minutes < 60) return minutes < 1 ? "< 1 min" : minutes + " min";
    const hours = Math.floor(minutes / 60);
    return hours < 48 ? hours + " h " + (minutes % 60) + " min" : Math.round(hours / 24) + " days";
  },
  NicLoss: ({ value, data }) => data.loss_text || (value == null ? "–" : Number(value.toPrecision(4)).toString()),
});
