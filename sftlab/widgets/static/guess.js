function render({ model, el }) {
  const { name, question, ...scale } = model.get("fixed"), id = unique();  // scale: min, max, step
  el.classList.add("sft-panel");
  const root = make("div", el, { className: `sft-guess sft-${name}` });
  root.setAttribute("role", "group");
  make("label", root, { htmlFor: id }, question);
  const range = native(make("input", root, { type: "range", id, className: `sft-${name}-range` }));
  const number = native(make("input", root, { type: "number", className: `sft-${name}-number` }));
  const status = make("span", root, { className: `sft-${name}-status` });
  status.setAttribute("role", "status");
  number.setAttribute("aria-label", question);
  for (const input of [range, number]) {
    Object.assign(input, scale);
    input.addEventListener("input", () => { if (input === range) number.value = range.value; });
    input.addEventListener("change", () => {
      const typed = Number(input.value);
      if (input.value !== "" && Number.isFinite(typed)) {
        range.value = typed;  // which knows the ends and the steps of the scale
        model.set("value", Number(range.value));
        model.set("touched", true);
        ask();
      }
      range.value = number.value = model.get("value");
      sync();
    });
  }
  const [ask, stop] = asking(model, said => { status.textContent = said; });
  number.addEventListener("keydown", event => {
    if (event.key === "Enter") number.dispatchEvent(new Event("change"));  // Shift+Enter too
  });
  function sync() {
    const value = model.get("value");  // news from the kernel interrupts nobody who drags or types
    if (!range.matches(":active")) range.value = value;
    if (!number.matches(":focus")) number.value = value;
    const kept = model.get("touched") && model.get("heard") === model.get("asked");
    status.textContent = kept
      ? `your guess ${value} is kept: run the next cells; a figure that stands already shows it when its cell runs again`
      : "drag, or type a number";
  }
  for (const name of ["value", "touched", "heard"]) model.on(`change:${name}`, sync);
  sync();
  return stop;
}
export default { render };
