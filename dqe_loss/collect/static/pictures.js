// Pictures of cases, of which those of the next case are fetched ahead.
import { base, element, settings } from "./page.js";

const fetched = new Map(); // address to a promise of an object URL
const address = (id, side, view) => `${base}/picture/${id}/${side}/${view}`;

function picture(url) {
  if (!fetched.has(url)) {
    const promise = fetch(url).then(async (response) => {
      if (!response.ok) throw new Error(`picture ${response.status}`);
      return URL.createObjectURL(await response.blob());
    });
    promise.catch(() => fetched.delete(url));
    fetched.set(url, promise);
  }
  return fetched.get(url);
}

/** Let go of all pictures but those of some cases. */
export function forget(kept) {
  for (const [url, promise] of fetched) {
    if (kept.some((id) => url.includes(id))) continue;
    fetched.delete(url);
    promise.then((blob) => URL.revokeObjectURL(blob), () => {});
  }
}

function panel(view, i, [, label], source) {
  const [width, height] = [view.size[0] * view.spacing[0], view.size[1] * view.spacing[1]];
  const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${view.view} plane, ${label}` });
  const total = width * settings.shown.length;
  svg.append(element("image", { href: source, x: -i * width, width: total, height, preserveAspectRatio: "none" }));
  // Letters are as large beside a small scan as beside a large one.
  const letter = 0.06 * Math.min(width, height);
  const write = (text, x, y, more = {}) => svg.append(element("text", { x, y, "font-size": letter, ...more }, text));
  const lines = element("g", { transform: `scale(${view.spacing[0] / 2} ${view.spacing[1] / 2})` });
  for (const [region, color, thickness] of settings.outlines) {
    if (view.outlines[region]) lines.append(element("path", { d: view.outlines[region], stroke: color, "stroke-width": thickness + 0.4 }));
  }
  svg.append(lines);
  write(label, letter / 3, height - 0.45 * letter);
  if (view.letters[0]) {
    write(view.letters[0], letter / 3, height / 2);
    write(view.letters[1], width / 2, 1.1 * letter, { "text-anchor": "middle" });
  }
  return svg;
}

/** What shows a case: for each side a box with a row of panels for each view. */
export function sidesOf(asked) {
  return Promise.all(asked.sides.map(async (views, side) => {
    const box = element("div", { class: "side" });
    if (settings.pairs) box.append(element("h2", {}, side === 0 ? "left" : "right"));
    const sources = await Promise.all(views.map((view) => picture(address(asked.id, side, view.view))));
    views.forEach((view, v) => {
      const figure = element("figure", { class: "plane" }, element("figcaption", {}, view.view));
      settings.shown.forEach((shown, i) => figure.append(panel(view, i, shown, sources[v])));
      box.append(figure);
    });
    return box;
  }));
}

/** Fetch what is shown next; what fails is fetched again when it is shown. */
export function fetchAhead(next) {
  for (let side = 0; side < next.sides; side++) {
    for (const view of settings.views) picture(address(next.id, side, view)).catch(() => {});
  }
}
