// The only place that makes nodes. Texts go in as text, whatever they look like: nothing here takes HTML.

const SVG = "http://www.w3.org/2000/svg";

export const find = (id) => document.getElementById(id);

/** Makes an element: attributes by name (`class`, `aria-…`), listeners as functions under `on…`. */
export function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same in SVG. */
export function draw(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null && value !== false)
      node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== undefined && child !== null));
  return node;
}

/** Sets a text if it changed: what did not is left alone, selections and screen readers with it. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Sets or, with `null`, removes an attribute if it changed. */
export function mark(node, name, value) {
  if (value === null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/** Replaces the children if what they show changed; `signature` tells. */
export function redraw(node, signature, children) {
  if (node.signature === signature) return;
  node.signature = signature;
  node.replaceChildren(...children());
}

/**
 * Makes the children of `parent` (after `first` fixed ones) follow a list. A child stays the same node as long as its key
 * is in the list, and keeps focus and whatever is open in it.
 */
export function follow(parent, items, key, create, update, first = 0) {
  const known = (parent.followed ??= new Map());
  const wanted = new Set(items.map(key));
  for (const [name, node] of known) {
    if (wanted.has(name)) continue;
    node.remove();
    known.delete(name);
  }
  items.forEach((item, at) => {
    const name = key(item);
    let node = known.get(name);
    if (!node) known.set(name, (node = create(item)));
    const there = parent.children[first + at];
    if (there !== node) parent.insertBefore(node, there ?? null);
    update(node, item);
  });
}
