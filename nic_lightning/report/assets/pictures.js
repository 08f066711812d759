// Reconstructions: two pictures under a slider, beside each other, or as maps of their errors.
later(() => {
  const home = byId("pictures");
  if (!home) return;
  const ORIGINAL = "original";
  const view = { item: 0, left: ORIGINAL, right: ORIGINAL, mode: "slider", gain: 8, real: false };
  const sets = () => data.pictures.filter((item) => item.dataset === state.dataset);
  const item = () => sets()[view.item];
  const entry = (key) => item().entries.find((one) => one.key === key);
  const loaded = new Map();

  /** A picture out of its block of base64, decoded when it is first looked at. */
  function load(id) {
    if (!loaded.has(id)) {
      const image = new Image();
      image.src = `data:image/png;base64,${byId(`picture-${id}`).textContent}`;
      loaded.set(id, image.decode().then(() => image));
    }
    return loaded.get(id);
  }

  function caption(one) {
    if (one.key === ORIGINAL) return ["original"];
    const facts = [`${shown(one[medium().rate], 4)} ${medium().unit}`];
    for (const metric of metricsHere()) {
      if (isNumber(one[metric.key])) facts.push(`${metric.name} ${shown(one[metric.key], metric.digits)}${metric.unit}`);
    }
    return [element("b", {}, `${one.codec} ${one.label}`), ` ${facts.join(", ")}`];
  }

  function pixels(image) {
    const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    return context.getImageData(0, 0, canvas.width, canvas.height);
  }

  /** |a - b| times the gain, in each colour; also the largest error. */
  function errorMap(image, original) {
    const canvas = element("canvas", { width: original.naturalWidth, height: original.naturalHeight });
    if (image.naturalWidth !== canvas.width || image.naturalHeight !== canvas.height) return canvas;
    const made = pixels(image), truth = pixels(original);
    let most = 0;
    for (let i = 0; i < made.data.length; i++) {
      if (i % 4 === 3) continue;
      const error = Math.abs(made.data[i] - truth.data[i]);
      if (error > most) most = error;
      made.data[i] = view.gain * error;
    }
    canvas.dataset.most = most;
    canvas.getContext("2d").putImageData(made, 0, 0);
    return canvas;
  }

  const tile = (picture, text) => element("figure", {}, element("div", { class: "frame" }, picture), element("figcaption", {}, ...text));

  function beside(pictures, sides) {
    return element("div", { class: "beside" }, ...pictures.map((picture, i) => tile(picture, caption(sides[i]))));
  }

  function slider([left, right], sides) {
    const top = element("div", { class: "top" }, left);
    const handle = element("div", { class: "handle", "aria-hidden": "true" });
    const range = element("input", { type: "range", min: 0, max: 100, step: 0.1, value: 50, id: "slider", "aria-label": "where the left picture ends" });
    const move = () => {
      top.style.clipPath = `inset(0 ${100 - range.value}% 0 0)`;
      handle.style.left = `${range.value}%`;
    };
    range.addEventListener("input", move);
    const stage = element("div", { class: "stage" }, right, top, handle, range);
    const follow = (event) => {
      const box = stage.getBoundingClientRect();
      range.value = (100 * (event.clientX - box.left)) / box.width;
      move();
    };
    stage.addEventListener("pointerdown", follow);
    stage.addEventListener("pointermove", (event) => event.buttons === 1 && follow(event));
    move();
    const texts = element("div", { class: "sides" }, element("span", {}, "◀ ", ...caption(sides[0])), element("span", {}, ...caption(sides[1]), " ▶"));
    return element("figure", {}, element("div", { class: "frame" }, stage), element("figcaption", {}, texts));
  }

  const copy = (image) => element("img", { src: image.src, width: image.naturalWidth, height: image.naturalHeight, alt: "", draggable: "false" });
  const stage = element("div", { id: "stage" });
  let turn = 0;

  async function draw() {
    if (!item()) return;
    const mine = ++turn;
    const sides = [entry(view.left), entry(view.right)];
    try {
      const images = await Promise.all(sides.map((one) => load(one.id)));
      const original = await load(item().entries[0].id);
      if (mine !== turn) return;
      stage.classList.toggle("real", view.real);
      if (view.mode === "errors") stage.replaceChildren(beside(images.map((image) => errorMap(image, original)), sides));
      else stage.replaceChildren(view.mode === "slider" ? slider(images.map(copy), sides) : beside(images.map(copy), sides));
    } catch {
      stage.replaceChildren(element("p", { class: "note" }, "The picture is damaged."));
    }
  }

  const lists = Object.fromEntries(["item", "left", "right"].map((key) => [key, picker(key === "item" ? "image" : key, [], "", (value) => {
    view[key] = key === "item" ? Number(value) : value;
    if (key === "item") fill();
    draw();
  }, `picture-${key}`)]));
  const gain = element("input", { type: "range", min: 1, max: 32, value: view.gain, id: "gain", input: () => {
    view.gain = Number(gain.value);
    gainText.textContent = `× ${view.gain}`;
    draw();
  } });
  const gainText = element("output", {}, `× ${view.gain}`);
  const gainBox = element("label", { class: "picker" }, element("span", {}, "gain"), gain, gainText);
  const modes = picker("view", [["slider", "slider"], ["side by side", "beside"], ["error maps", "errors"]], view.mode, (mode) => {
    view.mode = mode;
    gainBox.hidden = mode !== "errors";
    draw();
  }, "view");
  const real = element("input", { type: "checkbox", id: "real", change: () => {
    view.real = real.checked;
    draw();
  } });

  /** Lists of what the chosen image has; the same codecs stay chosen where they can. */
  function fill() {
    const choices = (item()?.entries ?? []).map((one) => [one.key === ORIGINAL ? ORIGINAL : `${one.codec} ${one.label}, ${shown(one[medium().rate], 3)} ${medium().unit}`, one.key]);
    if (choices.every(([, key]) => key !== view.right) || view.right === ORIGINAL) view.right = choices[1]?.[1] ?? ORIGINAL;
    if (choices.every(([, key]) => key !== view.left)) view.left = ORIGINAL;
    refill(lists.left.querySelector("select"), choices, view.left);
    refill(lists.right.querySelector("select"), choices, view.right);
  }

  function fillItems() {
    view.item = 0;
    const here = sets();
    refill(lists.item.querySelector("select"), here.map((one, i) => [one.item, String(i)]), "0");
    controls.hidden = stage.hidden = !here.length;
    none.hidden = here.length > 0;
    fill();
    draw();
  }

  const none = element("p", { class: "note" }, "No evaluation of this data set saved pictures.");
  const sameSize = element("label", { class: "picker" }, real, element("span", {}, "actual pixels"));
  const controls = element("div", { class: "controls" }, lists.item, lists.left, lists.right, modes, gainBox, sameSize);
  gainBox.hidden = none.hidden = true;
  home.append(...[datasetTabs(), controls, none, stage].filter(Boolean));
  onChange((changes) => {
    if ("dataset" in changes) fillItems();
  });
  const seen = new IntersectionObserver((entries) => {
    if (entries.some((one) => one.isIntersecting)) begin();
  }, { rootMargin: "300px" });
  function begin() {
    seen.disconnect();
    removeEventListener("beforeprint", begin);
    fillItems();
  }
  seen.observe(home);
  addEventListener("beforeprint", begin);
});
