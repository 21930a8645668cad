// What the scripts of all panels share; it stands before each of them.

// A node of this tag with these properties and this text, at the end of its parent.
function make(tag, parent, props = {}, text = "") {
  const node = Object.assign(document.createElement(tag), props);
  if (text) node.textContent = text;
  parent.append(node);
  return node;
}
// A node whose keys JupyterLab leaves alone: it would take the arrow keys for itself.
function native(node) {
  node.dataset.lmSuppressShortcuts = "true";
  return node;
}
// An id of its own on the page.
const unique = () => `sft-${Math.random().toString(36).slice(2)}`;
// The frame of a panel: a group with a name.
function frameOf(el, css, label) {
  el.classList.add("sft-panel");
  const root = make("div", el, { className: css });
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", label);
  return root;
}
// A label and, beside it, the group that it names.
function groupOf(parent, text, css, role) {
  const label = make("span", parent, { className: "sft-label", id: unique() }, text);
  const group = make("span", parent, { className: css });
  group.setAttribute("role", role);
  group.setAttribute("aria-labelledby", label.id);
  return group;
}
// A line that screen readers read out when it changes.
function statusOf(parent, css) {
  const status = make("p", parent, { className: css });
  status.setAttribute("role", "status");
  return status;
}
// Send what was set; say so if the kernel does not answer. Returns what to do when the panel goes away.
const LOST = 8000;  // ms until we doubt that anybody listens
const NO_ANSWER = "No answer yet. If the kernel was restarted, run this cell again.";
function asking(model, say) {
  let lost = null;
  const heard = () => clearTimeout(lost);
  model.on("change:heard", heard);
  const ask = () => {
    heard();
    model.set("asked", model.get("asked") + 1);
    model.save_changes();
    lost = setTimeout(() => say(NO_ANSWER), LOST);
  };
  return [ask, heard];
}
// An output that is written anew makes its panel anew: the focus goes back to the control that had it.
const focused = {};
function keepFocus(el, name) {
  const all = () => [...el.querySelectorAll("input, select, button")];
  el.addEventListener("focusin", event => { focused[name] = all().indexOf(event.target); });
  el.addEventListener("focusout", event => {
    if (event.relatedTarget && !el.contains(event.relatedTarget)) delete focused[name];
  });
  const back = (tries = 20) => {
    if (!el.isConnected && tries) requestAnimationFrame(() => back(tries - 1));
    else if (document.activeElement === document.body) all()[focused[name]]?.focus({ preventScroll: true });
  };
  if (name in focused) back();
}
// Put a drawn picture { src, alt, width } into an image; without one the image stays as it is.
function put(image, drawn) {
  if (!drawn.src) return;
  Object.assign(image, { src: drawn.src, alt: drawn.alt, hidden: false });
  image.style.width = `${drawn.width}px`;
}
