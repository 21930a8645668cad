"""Images as tiles, each with the label that it has and the choice of another one."""

from __future__ import annotations

import anywidget
import traitlets

from sftlab.widgets.elements import MAKE
from sftlab.widgets.panel import CSS

STYLE = """
.sft-tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: .7em; max-width: 1000px;
  margin: .4em 0; padding: 0; list-style: none; }
.sft-tile { border: 1.5px solid var(--jp-border-color2, #ddd); border-radius: 6px; padding: .5em; margin: 0;
  background: var(--jp-layout-color1, white); min-width: 0; overflow-wrap: anywhere; font-size: 13px; }
.sft-tile img { display: block; width: 100%; border-radius: 3px; margin-bottom: .3em; background: #888; }
.sft-tile.sft-changed { border-color: #D55E00; border-style: dashed; }
.sft-tile select { font: inherit; width: 100%; color: inherit; background: var(--jp-layout-color1, white);
  border: 1.5px solid var(--jp-border-color1, #aaa); border-radius: 4px; padding: .15em; margin: .25em 0; }
.sft-tile select option { color: var(--jp-ui-font-color1, #222); background: var(--jp-layout-color1, white); }
.sft-tile small { display: block; opacity: .8; }
"""


class Tiles(anywidget.AnyWidget):
    """Groups of tiles, one group shown at a time; `chosen` maps a tile's key to the number of its label.

    groups: [{title, tiles: [{key, src, alt, said, given}]}], given being the label it came with. options: names of the
    labels, and last what leaves an image out. Any change is sent at once.
    """

    _esm = (
        MAKE
        + """
    function render({ model, el }) {
      const name = model.get("name"), uid = `sft-${Math.random().toString(36).slice(2)}`;
      const groups = model.get("groups"), options = model.get("options");
      el.classList.add("sft-panel");
      const root = make("div", el, { className: `sft-relabel sft-${name}` });
      root.setAttribute("role", "group"); root.setAttribute("aria-label", model.get("title"));
      const row = make("div", root, { className: "sft-controls" });
      make("span", row, { className: "sft-label", id: `${uid}-groups` }, "show");
      const choice = make("span", row, { className: "sft-choice" });
      choice.setAttribute("role", "radiogroup"); choice.setAttribute("aria-labelledby", `${uid}-groups`);
      groups.forEach((group, k) => {
        const label = make("label", choice, { className: `sft-${name}-group-${k}` });
        const input = make("input", label, { type: "radio", name: `${uid}-group`, checked: k === 0 });
        input.dataset.lmSuppressShortcuts = "true";
        make("span", label, {}, group.title);
        input.addEventListener("change", () => show(k));
      });
      const list = make("ul", root, { className: "sft-tiles" });
      const status = make("p", root, { className: `sft-status sft-${name}-status` });
      status.setAttribute("role", "status");
      let marks = [];

      function show(k) {
        list.replaceChildren(); marks = [];
        groups[k].tiles.forEach((tile, number) => {
          const item = make("li", list, { className: "sft-tile" });
          make("img", item, { src: tile.src, alt: tile.alt });
          const id = `${uid}-${k}-${number}`;
          make("label", item, { htmlFor: id }, `image ${number + 1} is`);
          const select = make("select", item, { id, className: `sft-${name}-select` });
          select.dataset.lmSuppressShortcuts = "true";
          options.forEach((option, value) => make("option", select, { value }, option));
          select.addEventListener("change", () => {
            model.set("chosen", { ...model.get("chosen"), [tile.key]: Number(select.value) });
            model.save_changes();
            mark();
          });
          make("small", item, {}, tile.said);
          const was = make("small", item);
          marks.push(() => {
            const chosen = model.get("chosen")[tile.key] ?? tile.given, changed = chosen !== tile.given;
            select.value = String(chosen);
            item.classList.toggle("sft-changed", changed);
            was.textContent = changed ? `✎ the data say ${options[tile.given]}` : "";
          });
        });
        mark();
      }
      function mark() { for (const one of marks) one(); }
      function say() {
        const { said, error } = model.get("spoken");
        status.textContent = said || ""; status.classList.toggle("sft-error", Boolean(error));
      }
      model.on("change:chosen", mark); model.on("change:spoken", say);
      show(0); say();
    }
    export default { render };
    """
    )
    _css = CSS + STYLE
    name = traitlets.Unicode("relabel").tag(sync=True)
    title = traitlets.Unicode("").tag(sync=True)
    groups = traitlets.List(traitlets.Dict()).tag(sync=True)
    options = traitlets.List(traitlets.Unicode()).tag(sync=True)
    chosen = traitlets.Dict().tag(sync=True)
    spoken = traitlets.Dict().tag(sync=True)
