const H = 262, NARROW = 780, SHAPES = [  // below NARROW pixels letters would get small: one chart under the other
  (x, y) => `<circle cx="${x}" cy="${y}" r="3.8"/>`,
  (x, y) => `<path d="M${x - 3.5} ${y - 3.5}h7v7h-7z"/>`,
  (x, y) => `<path d="M${x} ${y - 4.8}l4.6 8h-9.2z"/>`,
  (x, y) => `<path d="M${x} ${y - 5}l4.6 5l-4.6 5l-4.6 -5z"/>`,
  (x, y) => `<path d="M${x} ${y + 4.8}l4.6 -8h-9.2z"/>`];
const words = text => `${text}`.replace(/[&<>"]/g, c => `&#${c.charCodeAt(0)};`);
function ticks(low, high, most) {
  const raw = (high - low) / most, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map(m => m * power).find(s => s >= raw * 0.999);
  const found = [];
  for (let v = Math.ceil(low / step - 1e-6) * step; v <= high + 1e-6 * step; v += step) found.push(v);
  return found;
}
function render({ model, el }) {
  const { name } = model.get("fixed"), uid = unique();
  el.classList.add("sft-panel");
  const title = make("p", el, { className: `sft-title sft-${name}-title` });
  const chart = make("div", el, { className: `sft-chart sft-${name}-chart` });
  const { images, classes } = model.get("fixed");
  const looks = images.length ? make("div", el, { className: `sft-looks sft-${name}-looks` }) : null;
  const when = looks && make("p", looks);
  const faces = images.map(({ src, label }) => {
    const figure = make("figure", looks);
    make("img", figure, { src, alt: label });
    return make("figcaption", figure);
  });
  const table = make("div", el, { className: `sft-runs sft-${name}-runs`, tabIndex: 0, role: "region" });
  table.setAttribute("aria-label", "runs so far");
  let pointed = null, clock = null, begun = 0;

  function frame([x0, x1, down], low, high, epochs, label, write) {
    const top = down + 26, FLOOR = down + 214;
    const fx = x => x0 + (x1 - x0) * x / epochs, fy = y => FLOOR - (FLOOR - top) * (y - low) / (high - low);
    let out = `<text x="${x0 - 34}" y="${down + 14}" class="sft-axis-name">${label}</text>`;
    for (const y of ticks(low, high, 5)) {
      out += `<path class="sft-grid" d="M${x0} ${fy(y)}H${x1}"/>`
        + `<text class="sft-tick" x="${x0 - 7}" y="${fy(y) + 4}" text-anchor="end">${write(y)}</text>`;
    }
    for (const x of ticks(0, epochs, 6).filter(Number.isInteger)) {
      out += `<path class="sft-axis" d="M${fx(x)} ${FLOOR}v4"/>`
        + `<text class="sft-tick" x="${fx(x)}" y="${FLOOR + 18}" text-anchor="middle">${x}</text>`;
    }
    out += `<path class="sft-axis" d="M${x0} ${FLOOR}H${x1}"/>`
      + `<text class="sft-tick" x="${(x0 + x1) / 2}" y="${FLOOR + 38}" text-anchor="middle">epoch</text>`;
    return { fx, fy, out, x0, x1, top };
  }
  const path = (points, f) => points.map((p, i) => `${i ? "L" : "M"}${f.fx(p[0])} ${f.fy(p[1])}`).join("");
  const marks = (points, f, run) =>
    points.length < 45 ? points.map(p => SHAPES[run.number % 5](f.fx(p[0]), f.fy(p[1]))).join("") : "";
  function labels(ends) {  // pushed apart half downwards, half upwards: both keep the distance, so their mean does
    let out = "";
    for (const x of new Set(ends.map(end => end.x))) {
      const column = ends.filter(end => end.x === x).sort((a, b) => a.y - b.y);
      let low = -Infinity, high = Infinity;
      const down = column.map(end => { low = Math.max(end.y, low + 14); return low; });
      const up = column.map(end => end.y);
      for (let i = column.length - 1; i >= 0; i--) { high = Math.min(column[i].y, high - 14); up[i] = high; }
      out += column.map((end, i) => `<text class="${end.css || ""}" x="${x + 9}" y="${(down[i] + up[i]) / 2 + 4}">`
        + `${words(end.text)}</text>`).join("");
    }
    return out;
  }
  function end(f, point, text, css) {  // a line that left through the roof is named where it left
    const above = f.fy(point[1]) < f.top;
    return { x: f.fx(point[0]), y: above ? f.top : f.fy(point[1]), text: above ? `↑ ${text}` : text, css };
  }
  function draw() {
    const c = model.get("chart");
    if (!c.runs) return;
    const wide = chart.clientWidth === 0 || chart.clientWidth >= NARROW;
    const places = wide ? [[46, 368, 0], [506, 812, 0]] : [[46, 366, 0], [46, 366, H]];
    const left = frame(places[0], c.foot, c.roof, c.epochs, "loss (nats per image)", y => +y.toFixed(2));
    const right = frame(places[1], c.floor, 1, c.epochs, "valid accuracy (%)", y => Math.round(100 * y));
    const chosen = [pointed, model.get("pinned")].find(n => c.runs.some(r => r.number === n)) ?? c.runs.at(-1)?.number;
    const order = [...c.runs.filter(r => r.number !== chosen), ...c.runs.filter(r => r.number === chosen)];
    const ends = [[], []];
    let out = left.out + right.out, lines = "", named = 0;
    out += `<path class="sft-majority" d="M${right.x0} ${right.fy(c.majority)}H${right.x1}"/>`;
    ends[1].push({ x: right.x1, y: right.fy(c.majority), text: "majority" });
    for (const run of order) {
      const now = run.number === chosen;
      lines += `<g class="sft-run${now ? " sft-now" : ""}" stroke="${run.hue}" fill="${run.hue}">`;
      if (now) lines += `<path class="sft-train" d="${path(run.train, left)}"/>`;
      lines += `<path class="sft-line" d="${path(run.valid, left)}"/>${marks(run.valid, left, run)}`
        + `<path class="sft-line" d="${path(run.accuracy, right)}"/>${marks(run.accuracy, right, run)}`;
      if (now && run.train.length === 1) lines += SHAPES[0](left.fx(run.train[0][0]), left.fy(run.train[0][1]));
      const [v, a] = [run.valid.at(-1), run.accuracy.at(-1)];
      if (now && run.kept) {
        const [epoch, loss, accuracy, ...interval] = run.kept;
        const x = right.fx(epoch), [low, high] = interval.map(right.fy);
        lines += `<path class="sft-whisker" d="M${x} ${low}V${high}M${x - 4} ${low}h8M${x - 4} ${high}h8"/>`;
        for (const [f, y] of [[left, loss], [right, accuracy]]) {
          lines += `<circle class="sft-kept" cx="${f.fx(epoch)}" cy="${f.fy(y)}" r="7.5"/>`;
        }
      }
      lines += "</g>";
      const css = now ? "sft-strong" : "";
      const text = `${run.number}: ${run.rate}`;
      if (run.end) {
        const t = [...run.train, ...run.valid].find(p => p[1] > c.roof) || run.train.at(-1) || [0, 0];
        const x = Math.min(left.fx(t[0]), 250) + 6;
        out += `<text class="sft-end ${css}" x="${x}" y="${left.top + 12 + 14 * named++}">`
          + `✗ run ${run.number}: ${words(run.end)}</text>`;
      } else if (v) {
        const t = run.train.at(-1);
        ends[0].push(end(left, v, now && t ? "valid" : text, css));
        if (now && t) ends[0].push({ ...end(left, t, "train"), x: left.fx(v[0]) });
      }
      if (a) ends[1].push(end(right, a, text, css));
    }
    const rect = f => `<rect x="${f.x0 - 6}" y="${f.top - 6}" width="${f.x1 - f.x0 + 12}" height="195"/>`;
    const clip = `<clipPath id="${uid}">${rect(left)}${rect(right)}</clipPath>`;
    const size = wide ? [880, H] : [440, 2 * H];
    chart.innerHTML = `<svg viewBox="0 0 ${size.join(" ")}" style="max-width:${size[0]}px" role="img" aria-label="Loss and valid accuracy against the epoch. ${words(c.title)}">${clip}`
      + `<g clip-path="url(#${uid})">${lines}</g>${out}${labels(ends[0])}${labels(ends[1])}</svg>`;
    const newest = c.runs.at(-1), answers = newest?.answers ?? [];
    if (when) when.textContent = answers.length ? `run ${newest.number}, epoch ${newest.accuracy.at(-1)[0]}:` : "";
    faces.forEach((face, i) => {
      const answer = classes[answers[i]], right = answer === images[i].label;
      face.textContent = answer === undefined ? "…" : `${right ? "✓" : "✗"} ${answer}`;
      face.parentNode.className = answer === undefined ? "" : right ? "sft-right" : "sft-wrong";
    });
    chart.dataset.run = c.runs.at(-1)?.number ?? "";
    chart.dataset.points = c.runs.at(-1)?.accuracy.length ?? 0;
    if (!model.get("busy")) title.textContent = c.title;
    const cells = run => run.row.map(cell => `<td>${words(cell)}</td>`).join("");
    const key = run => `<svg viewBox="0 0 34 12" class="sft-key" aria-hidden="true"><g stroke="${run.hue}"`
      + ` fill="${run.hue}"><path d="M1 6H33"/>${SHAPES[run.number % 5](17, 6)}</g></svg>`;
    const pin = run => `<button type="button" aria-pressed="${run.number === model.get("pinned")}"`
      + ` title="keep this run in sight" aria-label="pin run ${run.number}">${key(run)} ${run.number}</button>`;
    const row = run => `<tr data-run="${run.number}"><th scope="row">${pin(run)}</th>${cells(run)}</tr>`;
    const at = document.activeElement.closest?.(`.sft-${name}-runs tr`)?.dataset.run;
    const head = ["run", ...c.columns].map(column => `<th scope="col">${words(column)}</th>`).join("");
    const body = [...c.runs].reverse().map(row).join("");
    table.innerHTML = body && `<table><thead><tr>${head}</tr></thead><tbody>${body}</tbody></table>`;
    if (at) table.querySelector(`tr[data-run="${at}"] button`)?.focus();
    for (const button of table.querySelectorAll("button")) native(button);
  }
  function point(event) {
    const over = Number(event.target.closest("tr[data-run]")?.dataset.run) || null;
    if (over !== pointed) { pointed = over; draw(); }
  }
  function count() {
    const what = model.get("busy");
    clearInterval(clock);
    title.classList.toggle("sft-busy", Boolean(what));
    if (!what) { begun = 0; draw(); return; }
    begun ||= performance.now();
    const tell = () => { title.textContent = `${what} · ${Math.round((performance.now() - begun) / 1000)} s`; };
    clock = setInterval(tell, 1000);
    tell();
  }
  table.addEventListener("mouseover", point);
  table.addEventListener("click", event => {
    const run = Number(event.target.closest("button")?.closest("tr").dataset.run);
    if (!run) return;
    model.set("pinned", model.get("pinned") === run ? 0 : run);
    model.save_changes();
    draw();
  });
  const sized = new ResizeObserver(() => {
    if ((chart.clientWidth >= NARROW) !== (chart.querySelector("svg")?.viewBox.baseVal.width === 880)) draw();
  });
  sized.observe(chart);
  table.addEventListener("mouseleave", () => { if (pointed !== null) { pointed = null; draw(); } });
  model.on("change:chart", draw); model.on("change:busy", count);
  count(); draw();
  return () => { clearInterval(clock); sized.disconnect(); };
}
export default { render };
