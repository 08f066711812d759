"use strict";
// One photograph by several codecs: two pictures under a slider. The data is trusted no more than any other text.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const place = document.getElementById("pictures");
  const element = (tag, properties = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [key, value] of Object.entries(properties)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const view = { rate: 0, left: 2, right: 1, real: false }; // of a rate's entries: the original, ours, JPEG and others

  function picker(title, names, key) {
    const select = element("select", { "aria-label": title });
    names.forEach((name, i) => select.append(new Option(name, i, false, i === view[key])));
    select.addEventListener("change", () => { view[key] = Number(select.value); draw(); });
    return element("label", { class: "picker" }, element("span", {}, title), select);
  }

  const image = (entry) => element("img", {
    src: `data:image/webp;base64,${data.pictures[entry.picture]}`, width: data.width, height: data.height,
    alt: entry.name, draggable: "false",
  });
  const stage = element("div");
  const controls = element("div", { class: "controls" });

  function draw() {
    const entries = data.rates[view.rate].entries;
    const [left, right] = [entries[Math.min(view.left, entries.length - 1)], entries[Math.min(view.right, entries.length - 1)]];
    const names = entries.map((entry) => entry.name);
    const tabs = element("div", { role: "tablist", style: "margin: 0" }, ...data.rates.map((rate, i) => {
      const tab = element("button", { role: "tab", "aria-selected": String(i === view.rate) }, rate.title);
      tab.addEventListener("click", () => { view.rate = i; draw(); });
      return tab;
    }));
    const size = element("button", { "aria-pressed": String(view.real) }, view.real ? "fit to the page" : "every pixel");
    size.addEventListener("click", () => { view.real = !view.real; draw(); });
    controls.replaceChildren(tabs, picker("left", names, "left"), picker("right", names, "right"), size);
    const top = element("div", { class: "top" }, image(left));
    const handle = element("div", { class: "handle", "aria-hidden": "true" });
    const range = element("input", { type: "range", min: 0, max: 100, step: 0.1, value: 50, "aria-label": "where the left picture ends" });
    const move = () => {
      top.style.clipPath = `inset(0 ${100 - range.value}% 0 0)`;
      handle.style.left = `${range.value}%`;
    };
    range.addEventListener("input", move);
    const board = element("div", { class: "stage" }, image(right), top, handle, range);
    const follow = (event) => {
      const box = board.getBoundingClientRect();
      range.value = (100 * (event.clientX - box.left)) / box.width;
      move();
    };
    board.addEventListener("pointerdown", follow);
    board.addEventListener("pointermove", (event) => event.buttons === 1 && follow(event));
    move();
    const texts = element("div", { class: "sides" }, element("span", {}, `◀ ${left.caption}`), element("span", {}, `${right.caption} ▶`));
    const frame = element("div", { class: "frame" }, board);
    stage.replaceChildren(element("figure", { class: view.real ? "real" : "" }, frame, element("figcaption", {}, texts)));
  }

  place.append(controls, stage);
  draw();
})();
