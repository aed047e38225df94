// Small helpers of every module that touches the document.

export const $ = (id) => document.getElementById(id);

/** An element with a class and children; strings become text, never markup. */
export function element(tag, name, ...children) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  made.append(...children);
  return made;
}

/** Shows a line in a status or alert, or hides it when there is none. */
export function say(id, line = "") {
  $(id).textContent = line;
  $(id).hidden = !line;
}
