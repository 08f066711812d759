// A still drawing of a figure, there at once; Plotly, which takes a second or more to start, draws over it.
function drawn(tag, attributes, text = null) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== null) made.textContent = text;
  return made;
}

/** Round numbers between two ends, about `count` of them. */
function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((digit) => digit * power).find((size) => size >= rough);
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high; k++) found.push(Number((k * step).toPrecision(10)));
  return found;
}

/** Lines and points of `figure`, whose layout has the ranges of both axes, as an SVG that fills `place`. */
function sketch(place, figure) {
  const { xaxis, yaxis } = figure.layout;
  if (!figure.data.length || !xaxis.range || !yaxis.range) return;
  const width = place.clientWidth, height = place.clientHeight;
  const [left, right, top, bottom] = [56, width - 12, 26, height - 44];
  const [x0, x1] = xaxis.range, [y0, y1] = yaxis.range;
  const across = (x) => left + ((x - x0) / (x1 - x0)) * (right - left);
  const down = (y) => bottom - ((y - y0) / (y1 - y0)) * (bottom - top);
  const canvas = drawn("svg", { class: "sketch", width, height, role: "img", "aria-label": yaxis.title.text });
  const clip = `clip-${place.id}`;
  canvas.append(drawn("clipPath", { id: clip }));
  canvas.lastChild.append(drawn("rect", { x: left, y: top, width: Math.max(right - left, 0), height: Math.max(bottom - top, 0) }));
  for (const x of ticks(x0, x1, 6)) {
    canvas.append(drawn("line", { x1: across(x), x2: across(x), y1: top, y2: bottom }));
    canvas.append(drawn("text", { x: across(x), y: bottom + 16, "text-anchor": "middle" }, x));
  }
  for (const y of ticks(y0, y1, 6)) {
    canvas.append(drawn("line", { x1: left, x2: right, y1: down(y), y2: down(y) }));
    canvas.append(drawn("text", { x: left - 6, y: down(y) + 4, "text-anchor": "end" }, y));
  }
  canvas.append(drawn("text", { x: (left + right) / 2, y: bottom + 36, "text-anchor": "middle" }, xaxis.title.text));
  const middle = (top + bottom) / 2;
  canvas.append(drawn("text", { x: 14, y: middle, "text-anchor": "middle", transform: `rotate(-90 14 ${middle})` }, yaxis.title.text));
  const curves = drawn("g", { "clip-path": `url(#${clip})` });
  const dashes = { dash: "9 6", dot: "2 5" };
  for (const { x, y, line, marker } of figure.data) {
    const points = x.map((value, k) => [across(value), down(y[k])]);
    const style = { fill: "none", stroke: line.color, "stroke-width": line.width, "stroke-dasharray": dashes[line.dash] ?? "none" };
    curves.append(drawn("polyline", { points: points.join(" "), ...style }));
    for (const [cx, cy] of points) curves.append(drawn("circle", { cx, cy, r: marker.size / 2, fill: marker.color }));
  }
  canvas.append(curves);
  place.replaceChildren(canvas);
  performance.mark("report-sketch");
}
