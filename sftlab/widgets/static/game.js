function render({ model, el }) {
  const { name, images, classes, limit, noun } = model.get("fixed");
  const root = frameOf(el, `sft-cells sft-${name}`, `label ${images.length} images`);
  const status = statusOf(root, `sft-${name}-status`);
  status.id = unique();
  const clock = make("progress", root, { className: `sft-${name}-clock`, max: limit, value: 0 });
  clock.setAttribute("aria-label", "time used");
  const left = make("small", root, { className: `sft-${name}-left` });
  left.setAttribute("aria-hidden", "true");  // a reader aloud of every second would drown the question
  const row = make("div", root);  // above the image, so that it is in sight whatever the window's height
  const image = make("img", root, { className: `sft-cell sft-${name}-image` });
  const start = make("button", row, { className: `sft-main sft-${name}-start` }, "Start");
  start.setAttribute("aria-describedby", status.id);
  const buttons = classes.map((label, k) => {
    const button = make("button", row, { className: `sft-${name}-class-${k}` });
    if (k < 9) make("kbd", button, {}, `${k + 1}`);
    button.append(label); button.onclick = () => answer(k); return button;
  });
  [start, ...buttons].forEach(native);
  const score = make("div", root, { className: `sft-${name}-score` });
  const [ask, stop] = asking(model, said => { status.textContent = said; });
  let answers = [], began = 0, timer = null;

  function rest() {
    clearInterval(timer); timer = null;
    for (const node of [image, clock, left, ...buttons]) node.style.display = "none";
    start.style.display = "";
    start.textContent = model.get("ended") ? "Play again" : "Start";
    score.innerHTML = model.get("answers").length ? model.get("score") : "";
    status.textContent = model.get("spoken").said;
  }
  function next() {
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
    if (answers.length === images.length) finish((performance.now() - began) / 1000); else next();
  }
  function finish(used) {
    clearInterval(timer); timer = null;
    status.textContent = "done; the kernel counts …";
    model.set("answers", [...answers]); model.set("elapsed", used);
    model.set("ended", Date.now()); ask();
    for (const node of [image, clock, left, ...buttons]) node.style.display = "none";
    start.style.display = ""; start.textContent = "Play again"; start.focus();
  }
  start.onclick = () => {
    answers = []; score.innerHTML = "";
    for (const node of [image, clock, left, ...buttons]) node.style.display = "";
    start.style.display = "none";
    began = performance.now(); next(); buttons[0].focus();
    image.decode().catch(() => {}).then(() => {  // the clock starts when the picture is there
      began = performance.now(); timer = setInterval(tell, 250);
    });
  };
  root.addEventListener("keydown", event => {
    const k = Number(event.key) - 1;
    const named = Number.isInteger(k) && k >= 0 && k < Math.min(9, classes.length);
    if (timer !== null && named && !event.repeat) {
      event.preventDefault(); event.stopPropagation(); answer(k);
    }
  });
  // a game without an answer has no score
  for (const name of ["score", "heard"]) model.on(`change:${name}`, () => { if (timer === null) rest(); });
  rest();
  keepFocus(el, name);
  return () => { clearInterval(timer); stop(); };
}
export default { render };
