let justPlayed = false;  // the output is written anew after a game; the focus must not get lost then
function render({ model, el }) {
  const { name, images, classes, limit, noun } = model.get("fixed");
  const root = frameOf(el, `sft-cells sft-${name}`, `label ${images.length} images`);
  const status = statusOf(root, `sft-${name}-status`);
  status.id = unique();
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
  [start, ...buttons].forEach(native);
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
