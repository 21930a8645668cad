const shown = {};  // which group: the output is written anew after each choice
function render({ model, el }) {
  const { name, title, groups, options } = model.get("fixed"), uid = unique();
  const root = frameOf(el, `sft-relabel sft-${name}`, title);
  const row = make("div", root, { className: "sft-controls" }), first = shown[name] ?? 0;
  const choice = groupOf(row, "show", "sft-choice", "radiogroup");
  groups.forEach((group, k) => {
    const label = make("label", choice, { className: `sft-${name}-group-${k}` });
    const input = native(make("input", label, { type: "radio", name: `${uid}-group`, checked: k === first }));
    make("span", label, {}, group.title);
    input.addEventListener("change", () => show(k));
  });
  const list = make("ul", root, { className: "sft-tiles" });
  const status = statusOf(root, `sft-status sft-${name}-status`);
  const [ask, stop] = asking(model, said => { status.textContent = said; status.classList.add("sft-error"); });
  let marks = [];

  function show(k) {
    shown[name] = k; list.replaceChildren(); marks = [];
    groups[k].tiles.forEach((tile, number) => {
      const item = make("li", list, { className: "sft-tile" });
      make("img", item, { src: tile.src, alt: tile.alt });
      const id = `${uid}-${k}-${number}`;
      make("label", item, { htmlFor: id }, `image ${number + 1} is`);
      const select = native(make("select", item, { id, className: `sft-${name}-select` }));
      options.forEach((option, value) => make("option", select, { value }, option));
      select.addEventListener("change", () => {
        model.set("chosen", { ...model.get("chosen"), [tile.key]: Number(select.value) });
        ask();
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
    status.textContent = said; status.classList.toggle("sft-error", !!error);
  }
  model.on("change:chosen", mark); model.on("change:spoken", say);
  model.on("change:heard", say);  // late, and the same as before
  show(first); say();
  keepFocus(el, name);
  return stop;
}
export default { render };
