"""The labelling game on the page: one image at a time, a button a class, a clock."""

from __future__ import annotations

import anywidget
import traitlets

from sftlab.widgets.elements import MAKE
from sftlab.widgets.panel import CSS


class Game(anywidget.AnyWidget):
    """One image at a time, a button a class, a clock; it plays in the browser, busy kernel or not."""

    _esm = (
        MAKE
        + """
    let justPlayed = false;  // the output is written anew after a game; the focus must not get lost then
    function render({ model, el }) {
      const name = model.get("name"), images = model.get("images"), classes = model.get("classes");
      const limit = model.get("limit"), noun = model.get("noun");
      el.classList.add("sft-panel");
      const root = make("div", el, { className: `sft-cells sft-${name}` });
      root.setAttribute("role", "group"); root.setAttribute("aria-label", `label ${images.length} images`);
      const status = make("p", root, { className: `sft-${name}-status` });
      status.setAttribute("role", "status");
      status.id = `sft-status-${Math.random().toString(36).slice(2)}`;
      const clock = make("progress", root, { className: `sft-${name}-clock`, max: limit, value: 0 });
      clock.setAttribute("aria-label", "time used");
      const left = make("small", root, { className: `sft-${name}-left` });
      left.setAttribute("aria-hidden", "true");  // a reader aloud of every second would drown the question
      const image = make("img", root, { className: `sft-cell sft-${name}-image` });
      const row = make("div", root);
      const start = make("button", row, { className: `sft-main sft-${name}-start` }, "Start");
      start.setAttribute("aria-describedby", status.id);
      const buttons = classes.map((label, k) => {
        const button = make("button", row, { className: `sft-${name}-class-${k}` });
        if (k < 9) make("kbd", button, {}, `${k + 1}`);
        button.append(label); button.onclick = () => answer(k); return button;
      });
      for (const button of [start, ...buttons]) button.dataset.lmSuppressShortcuts = "true";
      const score = make("div", root, { className: `sft-${name}-score` });
      let answers = [], began = 0, timer = null;

      function rest() {
        clearInterval(timer); timer = null;
        for (const node of [image, clock, left, ...buttons]) node.style.display = "none";
        start.style.display = "";
        start.textContent = model.get("rounds") ? "Play again" : "Start";
        score.innerHTML = model.get("score");
        status.textContent = model.get("message");
      }
      function ask() {
        image.src = images[answers.length];
        image.alt = `${noun} ${answers.length + 1} of ${images.length}, to be labelled`;
        tell();
      }
      function tell() {
        const used = (performance.now() - began) / 1000;
        clock.value = Math.min(limit, used);
        left.textContent = `${Math.max(0, Math.ceil(limit - used))} s left`;
        status.textContent = `${noun} ${answers.length + 1} of ${images.length}`;
        if (used >= limit) finish(limit);
      }
      function answer(k) {
        if (timer === null) return;
        answers.push(k);
        if (answers.length === images.length) finish((performance.now() - began) / 1000); else ask();
      }
      function finish(used) {
        clearInterval(timer); timer = null; justPlayed = true;
        status.textContent = "done; the kernel counts …";
        model.set("answers", [...answers]); model.set("elapsed", used);
        model.set("rounds", model.get("rounds") + 1); model.save_changes();
        for (const node of [image, clock, left, ...buttons]) node.style.display = "none";
        start.style.display = ""; start.textContent = "Play again"; start.focus();
      }
      start.onclick = () => {
        answers = []; began = performance.now(); score.innerHTML = "";
        for (const node of [image, clock, left, ...buttons]) node.style.display = "";
        start.style.display = "none";
        timer = setInterval(tell, 250); ask(); buttons[0].focus();
      };
      root.addEventListener("keydown", event => {
        const k = Number(event.key) - 1;
        const named = Number.isInteger(k) && k >= 0 && k < Math.min(9, classes.length);
        if (timer !== null && named && !event.repeat) {
          event.preventDefault(); event.stopPropagation(); answer(k);
        }
      });
      model.on("change:score", () => { if (timer === null) rest(); });
      rest();
      const refocus = () => start.isConnected ? start.focus() : requestAnimationFrame(refocus);
      if (justPlayed) { justPlayed = false; refocus(); }
      return () => clearInterval(timer);
    }
    export default { render };
    """
    )
    _css = CSS
    name = traitlets.Unicode("cells").tag(sync=True)
    noun = traitlets.Unicode("cell").tag(sync=True)
    images = traitlets.List(traitlets.Unicode()).tag(sync=True)
    classes = traitlets.List(traitlets.Unicode()).tag(sync=True)
    limit = traitlets.Float(60).tag(sync=True)
    answers = traitlets.List(traitlets.Int()).tag(sync=True)
    elapsed = traitlets.Float(0).tag(sync=True)
    rounds = traitlets.Int(0).tag(sync=True)
    message = traitlets.Unicode("").tag(sync=True)
    score = traitlets.Unicode("").tag(sync=True)
