// Elements without markup in strings: whatever people write is text and stays text.

/** An element. `on…` are listeners, booleans are properties or bare attributes, nothing is left out. */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "class") node.className = value;
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false));
  return node;
}

/** Makes `parent`'s children these, in this order, and moves only what has to move: focus and scrolling stay. */
export function place(parent, nodes) {
  let at = parent.firstChild;
  for (const node of nodes) {
    if (node === at) at = at.nextSibling;
    else parent.insertBefore(node, at);
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

/**
 * Runs `work` at most once a frame, and less often where it takes long, so that a flood of messages leaves time for
 * reading them. Not by requestAnimationFrame: a window in the background keeps its counts, too.
 */
export function soon(work) {
  let asked;
  let took = 0;
  return () => {
    asked ??= setTimeout(() => {
      asked = undefined;
      const began = performance.now();
      work();
      took = performance.now() - began;
    }, Math.max(16, 2 * took));
  };
}

/** Moves the focus among `items()` with the arrow keys, Home and End. */
export function arrows(container, items, { next = "ArrowDown", previous = "ArrowUp" } = {}) {
  container.addEventListener("keydown", (event) => {
    const all = items();
    const at = all.indexOf(document.activeElement);
    if (at < 0) return;
    const to = { [next]: at + 1, [previous]: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined || !all[to]) return;
    event.preventDefault();
    all[to].focus();
  });
}
