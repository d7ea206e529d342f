// What all parts of the rater's page share.
export const find = (id) => document.getElementById(id);
export const settings = JSON.parse(find("settings").textContent);
export const base = location.pathname.replace(/\/$/, ""); // holds the secret

export function element(name, attributes = {}, ...children) {
  const svg = ["svg", "image", "path", "g", "text", "title"].includes(name);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}
