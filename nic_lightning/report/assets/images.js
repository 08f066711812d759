// Every image at every operating point: a table that filters and sorts, and draws only the rows that can be seen.
later(() => {
  const home = byId("images");
  if (!home) return;
  const HEIGHT = 31;
  const SPARE = 12;
  const COLUMNS = [
    { key: "dataset", title: "data set", width: 110 },
    { key: "item", title: data.item, width: 130 },
    { key: "codec", title: "codec", width: 170 },
    { key: "run", title: "run", width: 260 },
    { key: "label", title: "point", width: 90 },
    ...data.columns.map((column) => ({ ...column, width: Math.max(84, 40 + 7 * column.title.length) })),
    { key: "encode_ms", title: "encode ms", digits: 1, width: 102 },
    { key: "decode_ms", title: "decode ms", digits: 1, width: 102 },
  ];
  const rows = table();
  const isText = (column) => column.digits === undefined;
  const needed = (column) => column.key !== "dataset" || rows.names.dataset.length > 1;
  const used = COLUMNS.filter(needed).filter((column) => isText(column) || rows.numbers[column.key].some((value) => !Number.isNaN(value)));
  const chosen = { words: "", dataset: "", codec: "", label: "" };
  let order = new Uint32Array(0);
  let sorting = { column: null, down: false };

  const codeOf = (key, name) => (name === "" ? -1 : rows.names[key].indexOf(name));

  /** For each name whether it contains the word: texts are searched once, not in every row. */
  const marks = (key, word) => Uint8Array.from(rows.names[key], (name) => (name.toLowerCase().includes(word) ? 1 : 0));

  function filtered() {
    const wanted = ["dataset", "codec", "label"].map((key) => [rows.codes[key], codeOf(key, chosen[key])]).filter(([, code]) => code >= 0);
    const texts = ["item", "codec", "run", "label", "dataset"];
    const words = chosen.words.toLowerCase().split(/\s+/).filter(Boolean).map((word) => texts.map((key) => [rows.codes[key], marks(key, word)]));
    const kept = new Uint32Array(rows.count);
    let count = 0;
    for (let row = 0; row < rows.count; row++) {
      if (!wanted.every(([codes, code]) => codes[row] === code)) continue;
      if (words.every((places) => places.some(([codes, marked]) => marked[codes[row]]))) kept[count++] = row;
    }
    return kept.slice(0, count);
  }

  /** A number for each row that sorts as its value does; "kodim2" comes before "kodim10". */
  const ranks = {};
  function keys(column) {
    if (!isText(column)) return rows.numbers[column.key];
    if (!ranks[column.key]) {
      const compare = new Intl.Collator("en", { numeric: true }).compare;
      const names = rows.names[column.key];
      const places = new Uint32Array(names.length);
      [...names.keys()].sort((a, b) => compare(names[a], names[b])).forEach((code, place) => { places[code] = place; });
      ranks[column.key] = Uint32Array.from(rows.codes[column.key], (code) => places[code]);
    }
    return ranks[column.key];
  }

  function sorted(kept) {
    if (!sorting.column) return kept;
    const values = keys(sorting.column);
    const sign = sorting.down ? -1 : 1;
    const place = (value) => (Number.isNaN(value) ? sign * Infinity : value); // rows without a value come last
    return kept.sort((a, b) => {
      const x = place(values[a]), y = place(values[b]);
      return x === y ? a - b : x < y ? -sign : sign;
    });
  }

  function text(row, column) {
    if (isText(column)) return rows.names[column.key][rows.codes[column.key][row]];
    return shown(rows.numbers[column.key][row], column.digits);
  }

  const body = element("tbody");
  const above = element("tr", { class: "space" }, element("td", { colspan: used.length }));
  const below = element("tr", { class: "space" }, element("td", { colspan: used.length }));
  const count = element("span", { class: "muted", id: "image-count", role: "status" });
  const heads = used.map((column) => {
    const button = element("button", { click: () => sortBy(column), "data-column": column.key }, column.title);
    return element("th", { class: isText(column) ? null : "n", "aria-sort": "none" }, button);
  });
  const widths = element("colgroup", {}, ...used.map((column) => {
    const made = element("col");
    made.style.width = `${column.width}px`;
    return made;
  }));
  const head = element("thead", {}, element("tr", {}, ...heads));
  const grid = element("table", { class: "grid" }, widths, head, body);
  grid.style.minWidth = `${used.reduce((sum, column) => sum + column.width, 0)}px`;
  const scroller = element("div", { class: "scroll rows", tabindex: "0", "aria-label": `results of single ${data.item}s` }, grid);

  function line(row) {
    const cells = used.map((column) => element("td", { class: isText(column) ? null : "n", title: isText(column) ? text(row, column) : null }, text(row, column)));
    return element("tr", { click: () => showCurves(row) }, ...cells);
  }

  /** Rows in view and a few more; the two outer ones hold the room of all others. */
  function fill() {
    const first = Math.max(0, Math.floor(scroller.scrollTop / HEIGHT) - SPARE);
    const last = Math.min(order.length, first + Math.ceil(scroller.clientHeight / HEIGHT) + 2 * SPARE);
    above.firstChild.style.height = `${first * HEIGHT}px`;
    below.firstChild.style.height = `${(order.length - last) * HEIGHT}px`;
    above.hidden = first === 0;
    below.hidden = last === order.length;
    body.replaceChildren(above, ...Array.from(order.subarray(first, last), line), below);
  }

  function update() {
    order = sorted(filtered());
    count.textContent = `${order.length.toLocaleString("en")} of ${rows.count.toLocaleString("en")} rows`;
    scroller.scrollTop = 0;
    fill();
  }

  function sortBy(column) {
    const again = sorting.column === column;
    sorting = again && sorting.down ? { column: null, down: false } : { column, down: again };
    heads.forEach((cell, i) => {
      const mark = used[i] !== sorting.column ? "none" : sorting.down ? "descending" : "ascending";
      cell.setAttribute("aria-sort", mark);
    });
    update();
  }

  /** The curves of a row's image. */
  function showCurves(row) {
    choose({ dataset: text(row, COLUMNS[0]), image: text(row, COLUMNS[1]) });
    byId("curves").scrollIntoView();
  }

  const quoted = (value) => (/[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  const raw = (row, column) => (isText(column) ? quoted(text(row, column)) : Number.isNaN(rows.numbers[column.key][row]) ? "" : String(rows.numbers[column.key][row]));
  function download() {
    const lines = Array.from(order, (row) => used.map((column) => raw(row, column)).join(","));
    save("images.csv", [used.map((column) => column.key).join(","), ...lines, ""].join("\n"));
  }

  function choice(label, key, id) {
    const names = [...rows.names[key]].sort(new Intl.Collator("en", { numeric: true }).compare);
    return picker(label, [["all", ""], ...names.map((name) => [name, name])], "", (value) => {
      chosen[key] = value;
      update();
    }, id);
  }

  const search = element("input", { type: "search", placeholder: `${data.item}, codec, run`, "aria-label": "filter rows", id: "image-filter", input: () => {
    chosen.words = search.value;
    update();
  } });
  const controls = element("div", { class: "controls" }, search);
  if (rows.names.dataset.length > 1) controls.append(choice("data set", "dataset", "image-dataset"));
  controls.append(choice("codec", "codec", "image-codec"), choice("point", "label", "image-point"));
  controls.append(count, element("button", { click: download }, "save as CSV"));
  home.append(controls, scroller);
  scroller.addEventListener("scroll", fill, { passive: true });
  update();
});
