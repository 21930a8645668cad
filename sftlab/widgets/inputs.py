"""The controls on the page: native inputs with labels, a status line and a picture, in one widget."""

from __future__ import annotations

import anywidget
import traitlets

from sftlab.widgets.elements import MAKE
from sftlab.widgets.panel import CSS, UPRIGHT


class Controls(anywidget.AnyWidget):
    """Several controls, a status line and a picture; positions go to the kernel, pictures come back.

    live: positions are sent while a slider is dragged as well, at most every 40 ms; else on release only. drawn: the
    kernel's answer to a `state`: a picture (`src`, `alt`, `width`), or words (`said`, `error`). disabled: buttons
    that do nothing at present.
    """

    _esm = (
        MAKE
        + """
    const LATE = 300, LOST = 8000;  // ms until a sign of life, and until we doubt that anybody listens
    function render({ model, el }) {
      const name = model.get("name"), uid = `sft-${Math.random().toString(36).slice(2)}`;
      const native = (node) => { node.dataset.lmSuppressShortcuts = "true"; return node; };
      el.classList.add("sft-panel");
      const root = make("div", el, { className: `sft-explore sft-${name}` });
      root.setAttribute("role", "group");
      root.setAttribute("aria-label", model.get("title"));
      const row = make("div", root, { className: "sft-controls" });
      const shows = {}, inputs = {};
      let timer = null, late = null, lost = null;

      function choose(key, position, final) {
        model.set("state", { ...model.get("state"), [key]: position });
        if (final) { clearTimeout(timer); timer = null; send(); }
        else if (model.get("live") && timer === null) timer = setTimeout(() => { timer = null; send(); }, 40);
      }
      function send() {
        model.save_changes();
        clearTimeout(lost);
        if (late === null) late = setTimeout(() => say("the kernel is asked …"), LATE);
        lost = setTimeout(() => say("No answer yet. If the kernel was restarted, run this cell again."), LOST);
      }
      function slider(spec, box, css) {
        const id = `${uid}-${spec.key}`;
        make("label", box, { htmlFor: id }, spec.label);
        const input = native(make("input", box, { type: "range", id, className: `${css}-input` }));
        const output = make("output", box, { className: `${css}-value` });
        Object.assign(input, { min: 0, max: spec.texts.length - 1, step: 1 });
        input.style.width = `${Math.min(15, Math.max(8, spec.texts.length * .7))}em`;
        output.style.minWidth = `${Math.max(...spec.texts.map(t => t.length)) + 1}ch`;
        const write = position => {
          output.textContent = spec.texts[position];
          input.setAttribute("aria-valuetext", spec.texts[position]);
          input.style.setProperty("--sft-at", `${100 * position / Math.max(1, spec.texts.length - 1)}%`);
        };
        input.addEventListener("input", () => {
          write(Number(input.value));
          choose(spec.key, Number(input.value), false);
        });
        input.addEventListener("change", () => choose(spec.key, Number(input.value), true));
        inputs[spec.key] = [input];
        return position => { input.value = position; write(position); };
      }
      function choice(spec, box, css) {
        make("span", box, { className: "sft-label", id: `${uid}-${spec.key}` }, spec.label);
        const group = make("span", box, { className: spec.kind === "strip" ? "sft-strip" : "sft-choice" });
        group.setAttribute("role", "radiogroup");
        group.setAttribute("aria-labelledby", `${uid}-${spec.key}`);
        const radios = spec.texts.map((text, k) => {
          const label = make("label", group, { className: `${css}-${k}` });
          const input = native(make("input", label, { type: "radio", name: `${uid}-${spec.key}`, value: k }));
          make("span", label, {}, text);
          input.addEventListener("change", () => choose(spec.key, k, true));
          return input;
        });
        inputs[spec.key] = radios;
        return (position, state) => {
          radios[position].checked = true;
          if (!spec.heat) return;  // stages from the chosen one on learn: as hot as their rate, the others cold
          const [colour, ink] = spec.heat.colours[state[spec.heat.by]];
          radios.forEach((radio, k) => {
            const box = radio.nextSibling;
            box.classList.toggle("sft-cold", k < position);
            Object.assign(box.style, k < position ? { background: "", color: "" } : { background: colour, color: ink });
          });
        };
      }
      function toggle(spec, box, css) {
        const label = make("label", box);
        const input = native(make("input", label, { type: "checkbox", className: `${css}-input` }));
        label.append(` ${spec.label}`);
        input.addEventListener("change", () => choose(spec.key, Number(input.checked), true));
        inputs[spec.key] = [input];
        return position => { input.checked = Boolean(position); };
      }
      function button(spec, box, css) {
        const input = native(make("button", box, { type: "button", className: `${css}-input` }, spec.label));
        input.addEventListener("click", () => {  // aria-disabled keeps the focus where it is; disabled would lose it
          const off = input.getAttribute("aria-disabled") === "true";
          if (!off) choose(spec.key, model.get("state")[spec.key] + 1, true);
        });
        inputs[spec.key] = [input];
        return () => {};
      }
      function words(spec, box, css) {  // one stop of the tab key; arrows go from word to word
        make("span", box, { className: "sft-label", id: `${uid}-${spec.key}` }, spec.label);
        const group = make("span", box, { className: "sft-words" });
        group.setAttribute("role", "toolbar");
        group.setAttribute("aria-labelledby", `${uid}-${spec.key}`);
        const all = spec.texts.map((text, k) => {
          const word = native(make("button", group, { type: "button", className: `${css}-${k}-input` }, text));
          word.tabIndex = k ? -1 : 0;
          word.addEventListener("focus", () => all.forEach(other => { other.tabIndex = other === word ? 0 : -1; }));
          word.addEventListener("click", () => {
            choose(spec.key, model.get("state")[spec.key].map((kept, i) => i === k ? 1 - kept : kept), true);
          });
          return word;
        });
        group.addEventListener("keydown", event => {
          const at = all.indexOf(event.target);
          const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: all.length - 1 }[event.key];
          if (to !== undefined) { event.preventDefault(); all[to]?.focus(); }
        });
        inputs[spec.key] = all;
        return kept => all.forEach((word, k) => word.setAttribute("aria-pressed", !kept[k]));
      }
      function bars(spec, box, css) {
        make("span", box, { className: "sft-label", id: `${uid}-${spec.key}` }, spec.label);
        const group = make("span", box, { className: "sft-bars" });
        group.setAttribute("role", "group");
        group.setAttribute("aria-labelledby", `${uid}-${spec.key}`);
        let held = null;  // the shares when a drag began: who comes back from the top finds the others as they were
        const columns = spec.texts.map((text, k) => {
          const column = make("span", group, { className: "sft-bar" });
          const output = make("output", column), id = `${uid}-${spec.key}-${k}`;
          const input = native(make("input", column, { type: "range", id, className: `${css}-${k}-input` }));
          Object.assign(input, { min: 0, max: 100, step: 1 });
          input.setAttribute("aria-label", `${spec.label}: ${text}`);
          make("label", column, { htmlFor: id }, text);
          const move = final => {
            const now = give(held || model.get("state")[spec.key], k, Number(input.value));
            write(now);
            choose(spec.key, now, final);
          };
          input.addEventListener("pointerdown", () => { held = model.get("state")[spec.key]; });
          input.addEventListener("input", () => move(false));
          input.addEventListener("change", () => { move(true); held = null; });
          return { input, output };
        });
        const write = shares => columns.forEach(({ input, output }, k) => {
          input.value = shares[k];
          output.textContent = `${shares[k]} %`;
          input.setAttribute("aria-valuetext", `${shares[k]} %`);
          input.style.setProperty("--sft-at", `${shares[k]}%`);
        });
        inputs[spec.key] = columns.map(column => column.input);
        return write;
      }
      function give(shares, k, wanted) {  // bar k gets what is wanted, the others share the rest as they did before
        const others = 100 - shares[k], rest = 100 - wanted, alike = rest / (shares.length - 1);
        const now = shares.map((share, i) => i === k ? wanted : Math.round(others ? share * rest / others : alike));
        const most = now.indexOf(Math.max(...now.filter((_, i) => i !== k)));
        const last = most === k ? now.findIndex((_, i) => i !== k) : most;
        now[last] += 100 - now.reduce((sum, share) => sum + share);
        return now;
      }
      const kinds = { slider, bars, choice, strip: choice, toggle, words, button };
      for (const spec of model.get("specs")) {
        const css = `sft-${name}-${spec.key}`;
        const box = make("div", row, { className: `sft-control sft-kind-${spec.kind} ${css}` });
        shows[spec.key] = kinds[spec.kind](spec, box, css);
      }
      const status = make("p", root, { className: `sft-status sft-${name}-status` });
      status.setAttribute("role", "status");
      const image = make("img", root, { className: `sft-picture sft-${name}-picture`, hidden: true });

      function say(text) { status.textContent = text; status.classList.remove("sft-unseen"); }
      function sync() {
        const state = model.get("state"), off = model.get("disabled");
        for (const key in shows) {
          shows[key](state[key], state);
          for (const input of inputs[key]) input.setAttribute("aria-disabled", off.includes(key));
        }
      }
      function picture() {
        const drawn = model.get("drawn"), state = model.get("state");
        if (drawn.src) {
          image.src = drawn.src; image.alt = drawn.alt; image.style.width = `${drawn.width}px`; image.hidden = false;
        }
        if (drawn.state && Object.keys(state).every(key => `${state[key]}` === `${drawn.state[key]}`)) {
          clearTimeout(late); clearTimeout(lost); late = null;
          status.textContent = drawn.error || drawn.said || drawn.alt || "";
          status.classList.toggle("sft-unseen", !drawn.error && !drawn.said);  // alt is for those who hear the page
          status.classList.toggle("sft-error", Boolean(drawn.error));
        }
      }
      model.on("change:state", sync); model.on("change:disabled", sync); model.on("change:drawn", picture);
      sync();
      picture();
      return () => { clearTimeout(timer); clearTimeout(late); clearTimeout(lost); };
    }
    export default { render };
    """
    )
    _css = CSS + UPRIGHT
    name = traitlets.Unicode("explore").tag(sync=True)
    title = traitlets.Unicode("").tag(sync=True)
    specs = traitlets.List(traitlets.Dict()).tag(sync=True)
    state = traitlets.Dict().tag(sync=True)
    live = traitlets.Bool(True).tag(sync=True)
    disabled = traitlets.List(traitlets.Unicode()).tag(sync=True)
    drawn = traitlets.Dict().tag(sync=True)
