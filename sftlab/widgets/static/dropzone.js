const PIECE = 1 << 20, MOST = 64 << 20;  // bytes: a message of Jupyter's must stay below 10 MB, a photograph need not
const LATE = 15000;  // ms without an answer after which we doubt that anybody listens
function render({ model, el }) {
  const { name, title } = model.get("fixed"), uid = unique();
  const root = frameOf(el, `sft-upload sft-${name}`, title);
  const zone = make("div", root, { className: "sft-drop" });
  make("label", zone, { htmlFor: uid }, title);
  const field = native(make("input", zone, { type: "file", id: uid, multiple: true, accept: "image/*",
    className: `sft-${name}-input` }));
  field.setAttribute("aria-describedby", `${uid}-note`);
  make("small", zone, { id: `${uid}-note` }, "or drop them here. They go to your own kernel and nowhere else.");
  const status = statusOf(root, `sft-status sft-${name}-status`);
  const image = make("img", root, { className: `sft-picture sft-${name}-picture`, hidden: true });
  const box = make("div", root, { className: "sft-runs" });
  let lost = null, refused = [];

  function say(text, error) {
    status.textContent = text; status.classList.toggle("sft-error", Boolean(error));
  }
  const gone = () => say(NO_ANSWER, true);
  function send(content, buffers) {
    try { model.send(content, undefined, buffers); } catch { gone(); }  // its other end went with the kernel
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
          send({ kind: "piece", id, name: file.name, pieces }, [bytes]);
        }
      } catch (error) {  // a dropped folder, or a file that has gone away
        refused.push(`${file.name} cannot be read by the browser.`);
        say(refused.join(" "), true);
        continue;
      }
      clearTimeout(lost);
      lost = setTimeout(gone, LATE);
    }
  }
  field.addEventListener("change", async () => { await take([...field.files]); field.value = ""; });
  const over = on => event => {
    event.preventDefault(); event.stopPropagation(); zone.classList.toggle("sft-over", on);
  };
  zone.addEventListener("dragenter", over(true)); zone.addEventListener("dragover", over(true));
  zone.addEventListener("dragleave", over(false));
  zone.addEventListener("drop", event => { over(false)(event); take([...event.dataTransfer.files]); });

  const picture = () => put(image, model.get("drawn"));
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
    for (const column of ["photograph", "answer", "probabilities"]) make("th", head, { scope: "col" }, column);
    const body = make("tbody", table);
    found.forEach(([file, answer, told, shown], k) => {
      const row = make("tr", body), first = make("td", row);
      if (shown) {
        const again = native(make("button", first, { type: "button", className: "sft-again" }, file));
        again.setAttribute("aria-label", `show ${file} again`);
        again.addEventListener("click", () => send({ kind: "show", row: k }));
      } else first.textContent = file;
      make("td", row, {}, answer); make("td", row, {}, told);
    });
  }
  model.on("change:drawn", picture); model.on("change:spoken", spoken);
  model.on("change:rows", () => { rows(); spoken(); });  // the same photograph again has the same answer
  picture(); spoken(); rows();
  keepFocus(el, name);
  return () => clearTimeout(lost);
}
export default { render };
