"use strict";
// Draws the table of the page: filter, sort, one page of rows at a time, pictures where a case is opened.
(() => {
  const PAGE = 25;
  const find = (id) => document.getElementById(id);
  const { unit, columns, rows, pictured, shown } = JSON.parse(find("data").textContent);
  const at = Object.fromEntries(columns.map((column, i) => [column.key, i]));
  const words = rows.map((row) => [row[at.exam], row[at.segmentation], row[at.note]].join(" ").toLowerCase());
  const isText = (column) => column.digits === undefined;
  const state = { sort: at.mean, down: false, page: 0, open: new Set(), printing: false };
  let order = [];

  function element(name, attributes = {}, ...children) {
    const svg = ["svg", "image", "path", "g", "text"].includes(name);
    const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  const number = (value, digits) => (value === null ? "–" : value.toFixed(digits).replace("-", "−"));

  function filter() {
    const asked = find("search").value.toLowerCase().split(/\s+/);
    const decision = find("decision")?.value;
    const [from, to] = [find("from").valueAsNumber, find("to").valueAsNumber];
    const onlyPictured = find("pictured").checked;
    return (i) => {
      const stars = rows[i][at.mean];
      return (
        asked.every((word) => words[i].includes(word)) &&
        (!decision || rows[i][at.decision] === decision) &&
        // A row without stars is in no range of stars.
        (Number.isNaN(from) || (stars !== null && stars >= from)) &&
        (Number.isNaN(to) || (stars !== null && stars <= to)) &&
        (!onlyPictured || pictured[i])
      );
    };
  }

  function compare(i, j) {
    const [a, b] = [rows[i][state.sort], rows[j][state.sort]];
    if (a === b) return i - j;
    if (a === null || b === null) return a === null ? 1 : -1; // without stars last, whatever the direction
    const difference = isText(columns[state.sort]) ? a.localeCompare(b, undefined, { numeric: true }) : a - b;
    return state.down ? -difference : difference;
  }

  function drawView(view, stars, widest) {
    const [width, height] = [view.size[0] * view.spacing[0], view.size[1] * view.spacing[1]];
    const total = width * shown.length;
    const svg = element("svg", {
      viewBox: `0 0 ${total} ${height}`,
      style: `width: ${(100 * width) / widest}%`,
      role: "img",
      "aria-label": `${view.view} plane ${view.index} in ${shown.join(", ")}`,
    });
    svg.append(element("image", { href: view.strip, width: total, height, preserveAspectRatio: "none" }));
    shown.forEach((label, i) => {
      const panel = element("g", { transform: `translate(${i * width})` });
      const [across, down] = view.spacing.map((mm) => mm / 2);
      const outlines = element("g", { transform: `scale(${across} ${down})` });
      for (const region of document.querySelectorAll(".region")) {
        const path = view.outlines[region.dataset.region];
        const style = `stroke: ${region.style.getPropertyValue("--color")}; stroke-width: ${region.dataset.width}`;
        if (path) outlines.append(element("path", { d: path, style }));
      }
      panel.append(outlines, element("text", { class: "label", x: 3, y: height - 3 }, label));
      if (view.letters[0]) {
        panel.append(element("text", { class: "label", x: 2, y: height / 2 }, view.letters[0]));
        panel.append(element("text", { class: "label", x: width / 2, y: 8 }, view.letters[1]));
      }
      svg.append(panel);
    });
    const plane = { axial: "Z", coronal: "Y", sagittal: "X" }[view.view];
    const caption = `${view.view}, ${plane} = ${view.index}: ${number(stars, 2)} ${unit}`;
    return element("figure", {}, svg, element("figcaption", {}, caption));
  }

  // The text of a case is parsed here, and its images are decoded, when it is opened and no sooner.
  function drawCase(i) {
    const cell = element("td", { colspan: columns.length });
    const text = find(`case-${i}`)?.textContent;
    if (text === undefined) {
      cell.append("This page holds no pictures of this segmentation.");
    } else {
      const { files, views, problem } = JSON.parse(text);
      const widest = Math.max(...views.map((view) => view.size[0] * view.spacing[0]));
      for (const view of views) cell.append(drawView(view, rows[i][at[view.view]], widest));
      if (problem) cell.append(element("p", {}, `No pictures: ${problem}`));
      const listed = Object.entries(files).map(([name, path]) => `${name}: ${path}`);
      cell.append(element("div", { class: "files" }, listed.join(" · ")));
    }
    return element("tr", { class: "case" }, cell);
  }

  function drawRow(i) {
    const cells = columns.map((column, c) => {
      const value = rows[i][c];
      if (column.key === "exam") {
        const button = element("button", { type: "button", "aria-expanded": state.open.has(i) }, value);
        button.addEventListener("click", () => toggle(i));
        return element("th", { scope: "row" }, button);
      }
      if (column.key === "decision") return element("td", { class: `text decision ${value}` }, value);
      if (column.key === "note") return element("td", { class: "text note" }, value);
      if (isText(column)) return element("td", { class: "text name" }, value);
      return element("td", {}, number(value, column.digits));
    });
    const drawn = [element("tr", { "data-row": i }, ...cells)];
    if (state.open.has(i)) drawn.push(drawCase(i));
    return drawn;
  }

  function visible() {
    return state.printing ? order : order.slice(state.page * PAGE, (state.page + 1) * PAGE);
  }

  function draw() {
    const pages = Math.max(1, Math.ceil(order.length / PAGE));
    state.page = Math.min(state.page, pages - 1);
    const part = visible();
    find("rows").tBodies[0].replaceChildren(...part.flatMap(drawRow));
    const first = state.printing ? 0 : state.page * PAGE;
    const of = order.length === rows.length ? "" : ` (of ${rows.length.toLocaleString("en")})`;
    find("count").textContent = order.length
      ? `${first + 1}–${first + part.length} of ${order.length.toLocaleString("en")}${of}`
      : `no segmentation fits${of}`;
    find("previous").disabled = state.page === 0;
    find("next").disabled = state.page >= pages - 1;
    find("expand").disabled = !part.some((i) => pictured[i] && !state.open.has(i));
    find("collapse").disabled = state.open.size === 0;
    find("rows").querySelectorAll("thead th").forEach((th, c) => {
      if (c === state.sort) th.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      else th.removeAttribute("aria-sort");
    });
  }

  function update() {
    order = rows.map((_, i) => i).filter(filter()).sort(compare);
    state.page = 0;
    draw();
  }

  function toggle(i) {
    state.open.has(i) ? state.open.delete(i) : state.open.add(i);
    draw();
    document.querySelector(`[data-row="${i}"] button`).focus();
  }

  function turn(pages) {
    state.page += pages;
    draw();
    find("cases").scrollIntoView();
  }

  const head = find("rows").tHead.rows[0];
  columns.forEach((column, c) => {
    const button = element("button", { type: "button" }, column.label);
    button.addEventListener("click", () => {
      state.down = state.sort === c ? !state.down : false;
      state.sort = c;
      update();
    });
    head.append(element("th", { scope: "col", class: isText(column) ? "text" : "" }, button));
  });
  find("controls").addEventListener("input", (event) => {
    if (event.target.id === "outlines") find("rows").classList.toggle("plain", !event.target.checked);
    else update();
  });
  find("controls").addEventListener("submit", (event) => event.preventDefault());
  find("previous").addEventListener("click", () => turn(-1));
  find("next").addEventListener("click", () => turn(1));
  find("expand").addEventListener("click", () => {
    for (const i of visible()) if (pictured[i]) state.open.add(i);
    draw();
  });
  find("collapse").addEventListener("click", () => {
    state.open.clear();
    draw();
  });
  // Paper has no next page: all rows that the filter leaves are printed, with the pictures that are open.
  const print = (on) => () => {
    state.printing = on;
    draw();
  };
  window.addEventListener("beforeprint", print(true));
  window.addEventListener("afterprint", print(false));
  update();
})();
