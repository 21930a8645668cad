const LATE = 300, REPEAT = 120;  // ms until a sign of life; after the last of a key's repeats
function render({ model, el }) {
  const { name, title, specs, live } = model.get("fixed"), uid = unique();
  const root = frameOf(el, `sft-explore sft-${name}`, title);
  const row = make("div", root, { className: "sft-controls" });
  const shows = {}, inputs = {}, leaving = [];
  let timer = null, late = null, lost = null, held = false;  // held: a key that repeats
  root.addEventListener("keydown", event => { held = event.repeat; }, true);
  root.addEventListener("keyup", () => { held = false; }, true);
  root.addEventListener("pointerdown", () => { held = false; }, true);

  function choose(key, position, final) {
    model.set("state", { ...model.get("state"), [key]: position });
    if (final) {
      clearTimeout(timer);
      if (held) timer = setTimeout(() => { timer = null; send(); }, REPEAT);
      else { timer = null; send(); }
    } else if (live && timer === null) timer = setTimeout(() => { timer = null; send(); }, 40);
  }
  function send() {
    model.save_changes();
    clearTimeout(lost);
    if (late === null) late = setTimeout(() => say("the kernel is asked …"), LATE);
    lost = setTimeout(() => say(NO_ANSWER), LOST);
    hear();  // back where the answer stands already: the same one again would not be news
  }
  function range(parent, id, css, most) {
    const input = native(make("input", parent, { type: "range", id, className: css }));
    const output = make("output", parent, { ariaHidden: "true" });  // the input speaks by itself
    Object.assign(input, { min: 0, max: most, step: 1 });
    const write = (at, words) => {
      input.value = at;
      output.textContent = words;
      input.setAttribute("aria-valuetext", words);
      input.style.setProperty("--sft-at", `${100 * at / Math.max(1, most)}%`);
    };
    return { input, output, write };
  }
  function upright(group, id, css, label, most) {  // a range in a column of its own, its value above and its name below
    const column = make("span", group, { className: "sft-bar" }), bar = range(column, id, css, most);
    column.prepend(bar.output);
    make("label", column, { htmlFor: id }, label);
    return bar;
  }
  function slider(spec, box, css) {
    const id = `${uid}-${spec.key}`;
    make("label", box, { htmlFor: id }, spec.label);
    const { input, output, write: tell } = range(box, id, `${css}-input`, spec.texts.length - 1);
    output.classList.add(`${css}-value`);
    input.style.width = `${Math.min(15, Math.max(8, spec.texts.length * .7))}em`;
    output.style.minWidth = `${Math.max(...spec.texts.map(t => t.length)) + 1}ch`;
    const write = position => tell(position, spec.texts[position]);
    input.addEventListener("input", () => {
      write(Number(input.value));
      choose(spec.key, Number(input.value), false);
    });
    input.addEventListener("change", () => choose(spec.key, Number(input.value), true));
    inputs[spec.key] = [input];
    return write;
  }
  function choice(spec, box, css) {
    const group = groupOf(box, spec.label, spec.kind === "strip" ? "sft-strip" : "sft-choice", "radiogroup");
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
  function button(spec, box, css) {
    const main = spec.key === "train" ? " sft-main" : "";
    const input = native(make("button", box, { type: "button", className: `${css}-input${main}` }, spec.label));
    input.addEventListener("click", () => {  // aria-disabled keeps the focus where it is; disabled would lose it
      const off = input.getAttribute("aria-disabled") === "true";
      if (!off) choose(spec.key, model.get("state")[spec.key] + 1, true);
    });
    inputs[spec.key] = [input];
    return () => {};
  }
  function words(spec, box, css) {  // one stop of the tab key; arrows go from word to word
    const group = groupOf(box, spec.label, "sft-words", "toolbar");
    const all = spec.parts.map((text, k) => {
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
    const group = groupOf(box, spec.label, "sft-bars", "group");
    let held = null;  // the shares when a drag began: who comes back from the top finds the others as they were
    const columns = spec.parts.map((text, k) => {
      const bar = upright(group, `${uid}-${spec.key}-${k}`, `${css}-${k}-input`, text, 100), { input } = bar;
      input.setAttribute("aria-label", `${spec.label}: ${text}`);
      const move = final => {
        const now = give(held || model.get("state")[spec.key], k, Number(input.value));
        write(now);
        choose(spec.key, now, final);
      };
      input.addEventListener("pointerdown", () => { held = model.get("state")[spec.key]; });
      input.addEventListener("input", () => move(false));
      input.addEventListener("change", () => { move(true); held = null; });
      return bar;
    });
    const write = shares => columns.forEach((bar, k) => bar.write(shares[k], `${shares[k]} %`));
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
  function profile(spec, box) {  // a bar a stage, as hot as its rate; dragging sideways paints the others
    const group = make("span", box, { className: `sft-bars sft-${name}-bars` }), most = spec.texts.length - 1;
    const columns = spec.parts.map((stage, k) => {
      const bar = upright(group, `${uid}-${spec.key}-${k}`, `sft-${name}-${stage}-input`, stage, most);
      bar.input.setAttribute("orient", "vertical");
      return bar;
    });
    let origin = null, held = null;  // the bar that the hand took, and where it stood when the hand left it
    const write = ({ input, write: tell }, at = Number(input.value)) => {
      tell(at, spec.texts[at]);
      input.classList.toggle("sft-cold", at === 0);
      input.style.setProperty("--sft-hot", spec.heat[at]);
    };
    const send = () => {
      const now = columns.map(({ input }) => Number(input.value));
      if (`${now}` !== `${model.get("state")[spec.key]}`) choose(spec.key, now, true);
    };
    for (const column of columns) {
      column.input.addEventListener("input", () => {
        if (held !== null && origin === column) write(column, Number(held));  // the hand paints another bar now
        else write(column);
      });
      column.input.addEventListener("change", send);
      column.input.addEventListener("pointerdown", () => { origin = column; held = null; });
    }
    group.addEventListener("pointermove", event => {
      if (!origin || event.buttons !== 1) return;
      const under = columns.find(({ input }) => {
        const place = input.getBoundingClientRect();
        return event.clientX >= place.left && event.clientX <= place.right;
      });
      if (!under || under === origin) { if (under === origin) held = null; return; }
      if (held === null) held = origin.input.value;
      const place = under.input.getBoundingClientRect();
      const share = Math.min(1, Math.max(0, (place.bottom - event.clientY) / place.height));
      write(under, Math.round(share * most));
    });
    const release = () => { if (origin) { origin = held = null; setTimeout(send); } };
    window.addEventListener("pointerup", release);
    leaving.push(() => window.removeEventListener("pointerup", release));
    inputs[spec.key] = columns.map(({ input }) => input);
    return positions => {
      if (!origin) columns.forEach((column, k) => write(column, positions[k]));
    };
  }
  const kinds = { slider, bars, choice, strip: choice, words, button, profile };
  for (const spec of specs) {
    const css = `sft-${name}-${spec.key}`;
    const box = make("div", row, { className: `sft-control sft-kind-${spec.kind} ${css}` });
    shows[spec.key] = kinds[spec.kind](spec, box, css);
  }
  const place = make("div", root, { className: "sft-answer" });
  const status = statusOf(place, `sft-status sft-${name}-status`);
  const image = make("img", place, { className: `sft-picture sft-${name}-picture`, hidden: true });

  function say(text) { status.textContent = text; status.classList.remove("sft-unseen"); }
  function sync() {
    const state = model.get("state"), off = model.get("disabled");
    for (const key in shows) {
      shows[key](state[key], state);
      for (const input of inputs[key]) input.setAttribute("aria-disabled", off.includes(key));
    }
  }
  function hear() {
    const answer = model.get("answer"), state = model.get("state");
    put(image, answer);
    if (answer.state && Object.keys(state).every(key => `${state[key]}` === `${answer.state[key]}`)) {
      clearTimeout(late); clearTimeout(lost); late = null;
      status.textContent = answer.error || answer.said || answer.alt || "";
      status.classList.toggle("sft-unseen", !answer.error && !answer.said);  // alt is for those who hear the page
      status.classList.toggle("sft-error", Boolean(answer.error));
    }
  }
  model.on("change:state", sync); model.on("change:disabled", sync); model.on("change:answer", hear);
  sync();
  hear();
  keepFocus(el, name);
  return () => { [timer, late, lost].forEach(clearTimeout); leaving.forEach(leave => leave()); };
}
export default { render };
