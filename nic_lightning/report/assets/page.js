// The rest: the menu, tabs of ready-made panels, and the filter of training curves.
(() => {
  for (const button of document.querySelectorAll("[role=tab][data-tab]")) {
    button.addEventListener("click", () => {
      for (const other of button.parentElement.children) {
        const chosen = other === button;
        other.setAttribute("aria-selected", String(chosen));
        byId(other.dataset.tab).hidden = !chosen;
      }
      for (const place of drawings.keys()) redraw(place);
    });
  }

  const filter = byId("training-filter");
  /** Only the traces whose name contains the text; without one, those that the page opens with. */
  function filterTraining() {
    const words = filter.value.toLowerCase();
    const told = (trace) => trace.name.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&").toLowerCase();
    for (const place of document.querySelectorAll("#training .plot")) {
      const figure = data.figures[place.dataset.figure];
      const traces = figure.data.map((trace) => ({ ...trace, visible: words ? told(trace).includes(words) : trace.visible }));
      plot(place, () => ({ data: traces, layout: figure.layout }));
    }
  }
  filter?.addEventListener("input", filterTraining);

  for (const part of document.querySelectorAll("main > section")) {
    document.querySelector("nav").append(element("a", { href: `#${part.id}` }, part.dataset.menu));
  }
})();
