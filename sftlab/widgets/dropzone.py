"""Where photographs are dropped or chosen on the page: they go to the kernel in pieces, answers come back."""

from __future__ import annotations

import anywidget
import traitlets

from sftlab.widgets.elements import MAKE
from sftlab.widgets.panel import CSS

PIECE = 1 << 20  # bytes: one message of Jupyter's must stay below 10 MB, one photograph need not
MOST = 64 << 20

STYLE = """
.sft-drop { border: 2px dashed var(--jp-border-color1, #aaa); border-radius: 8px; padding: .8em 1em;
  margin: .2em 0 .5em; max-width: 860px; box-sizing: border-box; }
.sft-drop.sft-over { border-color: #0072B2; background: rgba(0, 114, 178, .12); }
.sft-drop label { font-weight: 600; display: block; margin-bottom: .3em; }
.sft-drop input[type=file] { max-width: 100%; color: inherit; }
.sft-drop small { display: block; opacity: .75; margin-top: .3em; }
.sft-panel button.sft-again { border: 0; padding: 0; margin: 0; background: none; text-decoration: underline;
  border-radius: 2px; text-align: left; }
"""


class DropZone(anywidget.AnyWidget):
    """A labelled file field that takes dropped files too, a status line, a picture, and a table of what was answered.

    Messages to the kernel: {kind: "piece", id, name, piece, pieces} with one buffer each, and {kind: "show", row}.
    drawn: the picture (`src`, `alt`, `width`). rows: [name, answer, probabilities] a photograph, the newest first.
    """

    _esm = (
        f"const PIECE = {PIECE}, MOST = {MOST};"
        + MAKE
        + """
    const LATE = 15000;  // ms without an answer after which we doubt that anybody listens
    function render({ model, el }) {
      const name = model.get("name"), uid = `sft-${Math.random().toString(36).slice(2)}`;
      el.classList.add("sft-panel");
      const root = make("div", el, { className: `sft-upload sft-${name}` });
      root.setAttribute("role", "group"); root.setAttribute("aria-label", model.get("title"));
      const zone = make("div", root, { className: "sft-drop" });
      make("label", zone, { htmlFor: uid }, model.get("title"));
      const field = make("input", zone, { type: "file", id: uid, multiple: true, accept: "image/*",
        className: `sft-${name}-input` });
      field.dataset.lmSuppressShortcuts = "true";
      field.setAttribute("aria-describedby", `${uid}-note`);
      make("small", zone, { id: `${uid}-note` }, "or drop them here. They go to your own kernel and nowhere else.");
      const status = make("p", root, { className: `sft-status sft-${name}-status` });
      status.setAttribute("role", "status");
      const image = make("img", root, { className: `sft-picture sft-${name}-picture`, hidden: true });
      const box = make("div", root, { className: "sft-runs" });
      let lost = null, refused = [];

      function say(text, error) {
        status.textContent = text; status.classList.toggle("sft-error", Boolean(error));
      }
      async function take(files) {
        refused = [];
        for (const file of files) {
          if (file.size > MOST) {
            refused.push(`${file.name} has ${Math.round(file.size / 2 ** 20)} MB; the most is ${MOST >> 20} MB.`);
            say(refused.join(" "), true);
            continue;
          }
          say(`${file.name} is sent to the kernel …`);
          const pieces = Math.max(1, Math.ceil(file.size / PIECE)), id = `${uid}-${Math.random()}`;
          try {
            for (let piece = 0; piece < pieces; piece++) {
              const bytes = await file.slice(piece * PIECE, (piece + 1) * PIECE).arrayBuffer();
              model.send({ kind: "piece", id, name: file.name, piece, pieces }, undefined, [bytes]);
            }
          } catch (error) {  // a dropped folder, or a file that has gone away
            refused.push(`${file.name} cannot be read by the browser.`);
            say(refused.join(" "), true);
            continue;
          }
          clearTimeout(lost);
          lost = setTimeout(() => say("No answer yet. If the kernel was restarted, run this cell again.", true), LATE);
        }
      }
      field.addEventListener("change", async () => { await take([...field.files]); field.value = ""; });
      const over = on => event => {
        event.preventDefault(); event.stopPropagation(); zone.classList.toggle("sft-over", on);
      };
      zone.addEventListener("dragenter", over(true)); zone.addEventListener("dragover", over(true));
      zone.addEventListener("dragleave", over(false));
      zone.addEventListener("drop", event => { over(false)(event); take([...event.dataTransfer.files]); });

      function picture() {
        const drawn = model.get("drawn");
        image.hidden = !drawn.src;
        if (drawn.src) { image.src = drawn.src; image.alt = drawn.alt; image.style.width = `${drawn.width}px`; }
      }
      function spoken() {
        clearTimeout(lost);
        const { said, error } = model.get("spoken");
        say([said, ...refused].filter(Boolean).join(" "), error || refused.length > 0);
      }
      function rows() {
        box.replaceChildren();
        const found = model.get("rows");
        if (!found.length) return;
        const table = make("table", box, { className: `sft-${name}-rows` });
        make("caption", table, { className: "sft-unseen" }, "what was answered, the newest first");
        const head = make("tr", make("thead", table));
        for (const title of ["photograph", "answer", "probabilities"]) make("th", head, { scope: "col" }, title);
        const body = make("tbody", table);
        found.forEach(([file, answer, told, shown], k) => {
          const row = make("tr", body), first = make("td", row);
          if (shown) {
            const again = make("button", first, { type: "button", className: "sft-again" }, file);
            again.setAttribute("aria-label", `show ${file} again`);
            again.dataset.lmSuppressShortcuts = "true";
            again.addEventListener("click", () => model.send({ kind: "show", row: k }));
          } else first.textContent = file;
          make("td", row, {}, answer); make("td", row, {}, told);
        });
      }
      model.on("change:drawn", picture); model.on("change:spoken", spoken); model.on("change:rows", rows);
      picture(); spoken(); rows();
      return () => clearTimeout(lost);
    }
    export default { render };
    """
    )
    _css = CSS + STYLE
    name = traitlets.Unicode("upload").tag(sync=True)
    title = traitlets.Unicode("").tag(sync=True)
    drawn = traitlets.Dict().tag(sync=True)
    spoken = traitlets.Dict().tag(sync=True)
    rows = traitlets.List(traitlets.List()).tag(sync=True)
