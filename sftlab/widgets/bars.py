"""Bars to paint: a learning-rate profile as one vertical slider a stage, and the picture of what came of it."""

from __future__ import annotations

import anywidget
import traitlets

from sftlab.widgets.elements import MAKE
from sftlab.widgets.panel import CSS, UPRIGHT

BARS_CSS = """
.sft-tunnel { display: flex; flex-wrap: wrap; gap: .4em 1.6em; align-items: flex-start; }
.sft-tunnel > div:last-child { flex: 1 1 26em; min-width: 0; }
.sft-tunnel .sft-controls { gap: .2em; padding-top: .4em; }
"""


class Bars(anywidget.AnyWidget):
    """A native vertical range a stage; letting go sends all positions at once. Dragging sideways paints the others."""

    _esm = (
        MAKE
        + """
    function render({ model, el }) {
      const name = model.get("name"), stages = model.get("stages"), texts = model.get("texts");
      const heat = model.get("heat"), uid = `sft-${Math.random().toString(36).slice(2)}`;
      el.classList.add("sft-panel");
      const root = make("div", el, { className: `sft-tunnel sft-${name}` });
      root.setAttribute("role", "group");
      root.setAttribute("aria-label", "wind tunnel: a learning rate for each stage");
      const left = make("div", root);
      const bars = make("div", left, { className: `sft-bars sft-${name}-bars` });
      const columns = stages.map((stage, k) => {
        const box = make("div", bars, { className: "sft-bar" });
        const output = make("output", box);
        const input = make("input", box, { type: "range", id: `${uid}-${k}`, className: `sft-${name}-${stage}-input` });
        Object.assign(input, { min: 0, max: texts.length - 1, step: 1 });
        input.dataset.lmSuppressShortcuts = "true";
        input.setAttribute("orient", "vertical");
        make("label", box, { htmlFor: input.id }, stage);
        return { box, input, output };
      });
      const row = make("div", left, { className: "sft-controls" });
      const press = what => {
        const label = { train: "Train", stop: "Stop", forget: "Forget runs" }[what];
        const button = make("button", row, { type: "button", className: `sft-${name}-${what}-input` }, label);
        button.dataset.lmSuppressShortcuts = "true";
        button.addEventListener("click", () => {
          model.set("pressed", [what, model.get("pressed")[1] + 1]);
          model.save_changes();
        });
        return button;
      };
      const [train, stop] = ["train", "stop", "forget"].map(press);
      const right = make("div", root);
      const image = make("img", right, { className: `sft-picture sft-${name}-picture`, hidden: true });
      const status = make("p", right, { className: `sft-status sft-${name}-status` });
      status.setAttribute("role", "status");

      let origin = null, held = null, late = null;
      const positions = () => columns.map(column => Number(column.input.value));
      function show(column) {
        const at = Number(column.input.value);
        column.output.textContent = texts[at];
        column.input.setAttribute("aria-valuetext", texts[at]);
        column.input.classList.toggle("sft-cold", at === 0);
        column.input.style.setProperty("--sft-hot", heat[at]);
        column.input.style.setProperty("--sft-at", `${100 * at / (texts.length - 1)}%`);
      }
      function send() {
        const now = positions();
        if (now.every((p, k) => p === model.get("positions")[k])) return;
        model.set("positions", now);
        model.save_changes();
        clearTimeout(late);
        late = setTimeout(() => { status.textContent = "the kernel is asked …"; }, 250);
      }
      for (const column of columns) {
        column.input.addEventListener("input", () => {
          if (held !== null && origin === column) column.input.value = held;  // the hand paints another bar now
          show(column);
        });
        column.input.addEventListener("change", send);
        column.input.addEventListener("pointerdown", () => { origin = column; held = null; });
      }
      bars.addEventListener("pointermove", event => {
        if (!origin || event.buttons !== 1) return;
        const under = columns.find(column => {
          const box = column.input.getBoundingClientRect();
          return event.clientX >= box.left && event.clientX <= box.right;
        });
        if (!under || under === origin) { if (under === origin) held = null; return; }
        if (held === null) held = origin.input.value;
        const box = under.input.getBoundingClientRect();
        const share = Math.min(1, Math.max(0, (box.bottom - event.clientY) / box.height));
        under.input.value = Math.round(share * (texts.length - 1));
        show(under);
      });
      const release = () => { if (origin) { origin = held = null; setTimeout(send); } };
      window.addEventListener("pointerup", release);
      function sync() {
        model.get("positions").forEach((p, k) => { columns[k].input.value = p; show(columns[k]); });
      }
      function tell() {
        clearTimeout(late);
        status.textContent = model.get("status");
        status.classList.toggle("sft-error", model.get("failed"));
        stop.disabled = !model.get("busy");
        train.disabled = model.get("busy");
      }
      function picture() {
        const drawn = model.get("drawn");
        if (!drawn.src) return;
        image.src = drawn.src; image.alt = drawn.alt; image.style.width = `${drawn.width}px`; image.hidden = false;
      }
      model.on("change:positions", () => { if (!origin) sync(); });
      model.on("change:drawn", picture);
      for (const key of ["status", "busy", "failed"]) model.on(`change:${key}`, tell);
      sync(); picture(); tell();
      return () => { window.removeEventListener("pointerup", release); clearTimeout(late); };
    }
    export default { render };
    """
    )
    _css = CSS + UPRIGHT + BARS_CSS
    name = traitlets.Unicode("tunnel").tag(sync=True)
    stages = traitlets.List(traitlets.Unicode()).tag(sync=True)
    texts = traitlets.List(traitlets.Unicode()).tag(sync=True)
    heat = traitlets.List(traitlets.Unicode()).tag(sync=True)
    positions = traitlets.List(traitlets.Int()).tag(sync=True)
    pressed = traitlets.List(default_value=["", 0]).tag(sync=True)  # which button, and how many clicks so far
    busy = traitlets.Bool(False).tag(sync=True)
    failed = traitlets.Bool(False).tag(sync=True)
    status = traitlets.Unicode("").tag(sync=True)
    drawn = traitlets.Dict().tag(sync=True)
