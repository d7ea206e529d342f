"use strict";
// The rater's page: shows what the server asks, and sends what the rater says. A case leaves the screen only after the
// server has said that the answer is on its disk.
(() => {
  const find = (id) => document.getElementById(id);
  const settings = JSON.parse(find("settings").textContent);
  const base = location.pathname.replace(/\/$/, "");
  const SOON = 250; // milliseconds in which a key is still meant for the case before
  const stage = find("case");
  const state = { now: null, busy: true, paused: false, zoom: 1, since: 0, spent: 0, arming: 0, tags: new Set() };
  const fetched = new Map(); // address to a promise of an object URL
  let viewer = null;

  function element(name, attributes = {}, ...children) {
    const svg = ["svg", "image", "path", "g", "text", "title"].includes(name);
    const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  // ---- pictures, of which those of the next case are fetched ahead

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

  function forget(kept) {
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

  async function draw(asked) {
    const sides = await Promise.all(asked.sides.map(async (views, side) => {
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
    stage.replaceChildren(...sides);
    stage.scrollTo(0, 0);
  }

  // ---- time, of which pauses and other tabs are no part

  /** Take answers again in a moment: a key that was meant for what was shown before must not count. */
  function arm() {
    clearTimeout(state.arming);
    delete document.body.dataset.ready;
    state.arming = setTimeout(() => { if (!find("intro").open) document.body.dataset.ready = "yes"; }, SOON);
  }

  /** The instructions, over the page: nothing is answered until they are closed. */
  function introduce() {
    find("intro").showModal();
    arm();
  }

  const running = () => state.now?.case && !state.paused && !document.hidden && !find("intro").open;

  function clock() {
    const now = performance.now();
    if (state.since) state.spent += now - state.since;
    state.since = running() ? now : 0;
  }

  function minutes(seconds) {
    if (!seconds) return ""; // not known yet, or done
    return seconds < 90 ? ", about a minute left" : `, about ${Math.round(seconds / 60)} minutes left`;
  }

  // ---- what the server says

  function say(text) {
    find("message").textContent = text;
    find("message").hidden = !text;
  }

  async function show(next) {
    const asked = next.case;
    const same = asked && state.now?.case?.id === asked.id;
    const { done, total, seconds_left: left } = next.progress;
    find("bar").max = total;
    find("bar").value = done;
    find("count").textContent = `${done} of ${total} done${minutes(left)}`;
    find("undo").disabled = next.turn === 0;
    find("done").hidden = Boolean(asked);
    stage.hidden = !asked || state.paused;
    find("controls").hidden = !asked || state.paused;
    if (find("open3d")) find("open3d").disabled = !asked;
    if (asked && !same) {
      await draw(asked);
      state.spent = 0;
      find("comment").value = asked.comment;
      state.tags = new Set(asked.tags);
      for (const button of document.querySelectorAll(".tag")) {
        button.setAttribute("aria-pressed", state.tags.has(button.dataset.tag));
      }
    }
    if (!asked) stage.replaceChildren();
    state.now = next;
    arm();
    state.since = 0;
    clock();
    find("announce").textContent = asked ? `${asked.training ? "Practice case" : "Case"} ${done + 1} of ${total}` : "All cases are rated";
    document.body.dataset.case = asked ? asked.id : "";
    document.body.dataset.done = done;
    forget([asked?.id, next.ahead?.id].filter(Boolean));
    if (next.ahead) {
      for (let side = 0; side < next.ahead.sides; side++) {
        for (const view of settings.views) picture(address(next.ahead.id, side, view)).catch(() => {});
      }
    }
  }

  async function ask(path, body) {
    const options = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    const response = await fetch(base + path, options);
    const content = await response.json();
    if (response.ok) return content;
    const error = new Error(content.problem);
    error.stale = response.status === 409;
    throw error;
  }

  async function change(path, body) {
    if (state.busy) return;
    state.busy = true;
    stage.classList.add("busy");
    try {
      await show(await ask(path, body));
      say("");
    } catch (error) {
      if (error.stale) {
        say(`${error.message}. The current case is shown now.`);
        await show(await ask("/case")).catch(() => {});
      } else if (error instanceof TypeError) {
        say("No connection to the server. Your answers so far are saved; answer again when it is back.");
      } else {
        say(error.message);
      }
    } finally {
      state.busy = false;
      stage.classList.remove("busy");
    }
  }

  function answer(verdict) {
    if (!state.now?.case || state.paused || !document.body.dataset.ready) return;
    clock();
    change("/answer", {
      id: state.now.case.id,
      turn: state.now.turn,
      verdict,
      comment: find("comment").value,
      tags: [...state.tags],
      seconds: state.spent / 1000,
    });
  }

  const undo = () => state.now?.turn && change("/undo", { turn: state.now.turn });

  // ---- what the rater can change

  function pause(paused = !state.paused) {
    clock();
    state.paused = paused;
    find("pause").setAttribute("aria-pressed", paused);
    find("paused").hidden = !paused;
    stage.hidden = find("controls").hidden = paused || !state.now?.case;
    arm();
    clock();
    if (paused) find("resume").focus();
    else stage.focus();
  }

  function toggleTag(button) {
    const { tag } = button.dataset;
    if (!state.tags.delete(tag)) state.tags.add(tag);
    button.setAttribute("aria-pressed", state.tags.has(tag));
  }

  function zoom(factor) {
    state.zoom = Math.min(6, Math.max(0.5, factor));
    stage.style.setProperty("--zoom", state.zoom);
    find("zoom").textContent = `${Math.round(100 * state.zoom)} %`;
  }

  function look() {
    stage.classList.toggle("plain", !find("outlines").checked);
    for (const name of ["opacity", "brightness", "contrast"]) stage.style.setProperty(`--${name}`, find(name).value / 100);
  }

  function reset() {
    zoom(1);
    find("opacity").value = 90;
    find("brightness").value = find("contrast").value = 100;
    look();
  }

  function theme(name) {
    document.documentElement.dataset.theme = name;
    find("theme").textContent = name === "dark" ? "Light" : "Dark";
    try { localStorage.setItem("theme", name); } catch { /* a browser that keeps nothing */ }
  }

  // ---- the volume in 3D

  function load(address) {
    return new Promise((done, failed) => {
      const script = element("script", { src: address });
      script.addEventListener("load", done);
      script.addEventListener("error", failed);
      document.head.append(script);
    });
  }

  /** Put the crosshair into the middle of the segmentation. */
  function goTo({ img, hdr }) {
    const [, width, height] = hdr.dims;
    const sum = [0, 0, 0];
    let count = 0;
    for (let i = 0; i < img.length; i++) {
      if (!img[i]) continue;
      sum[0] += i % width;
      sum[1] += Math.floor(i / width) % height;
      sum[2] += Math.floor(i / (width * height));
      count++;
    }
    const [x, y, z] = sum.map((s) => s / count);
    const place = hdr.affine.slice(0, 3).map((row) => row[0] * x + row[1] * y + row[2] * z + row[3]);
    if (count) viewer.scene.crosshairPos = viewer.mm2frac(place);
    viewer.drawScene();
  }

  async function showVolume() {
    const scan = find("scan").value;
    const side = find("side")?.value ?? 0;
    const at = (name) => ({ url: `${base}/volume/${state.now.case.id}/${side}/${name}.nii.gz`, name: `${name}.nii.gz` });
    find("loading").textContent = "loading …";
    try {
      if (!window.niivue) await load("/static/niivue.js");
      if (!viewer) {
        viewer = new window.niivue.Niivue({ dragAndDropEnabled: false, show3Dcrosshair: true, loadingText: "", isRadiologicalConvention: true });
        await viewer.attachToCanvas(find("canvas"));
        // Of n regions the first is drawn with the n-th part of the scale, and so on; 0 is nothing.
        const regions = settings.outlines.map(([, color]) => [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16)));
        const channel = (i) => [0, ...regions.map((color) => color[i])];
        const places = [0, ...regions.keys()].map((_, i) => Math.round((255 * i) / regions.length));
        viewer.addColormap("regions", { R: channel(0), G: channel(1), B: channel(2), A: places.map((i) => (i ? 255 : 0)), I: places });
      }
      await viewer.loadVolumes([at(scan), { ...at("mask"), colormap: "regions", opacity: find("mask").checked ? 0.5 : 0, cal_min: 0, cal_max: settings.outlines.length }]);
      viewer.setColormap(viewer.volumes[1].id, "regions");
      viewer.setInterpolation(true);
      goTo(viewer.volumes[1]);
      viewer.setSliceType(viewer.sliceTypeMultiplanar);
      find("loading").textContent = "";
      find("volume").dataset.loaded = viewer.volumes.length;
    } catch (error) {
      find("loading").textContent = `The volume cannot be shown here (${error.message ?? "not loaded"}).`;
    }
  }

  function open3d() {
    if (!find("volume") || !state.now?.case || state.paused || state.busy) return;
    delete find("volume").dataset.loaded;
    find("volume").showModal();
    showVolume();
  }

  // ---- keys and clicks

  const verdicts = settings.pairs
    ? { 1: "left", ArrowLeft: "left", 2: "right", ArrowRight: "right", 3: "same", ArrowDown: "same" }
    : Object.fromEntries(settings.answers);

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]")) return;
    if (event.target === find("comment")) {
      if (event.key === "Enter" || event.key === "Escape") stage.focus();
      return;
    }
    const { key } = event;
    const slider = event.target.type === "range" && key.startsWith("Arrow");
    const onButton = event.target.tagName === "BUTTON" && (key === " " || key === "Enter") && !event.target.matches(".answer");
    if (slider || onButton) return;
    const tag = document.querySelector(`.tag[data-key="${CSS.escape(key.toLowerCase())}"]`);
    if (key in verdicts) { if (!event.repeat) answer(verdicts[key]); }
    else if (key === " ") { find("outlines").checked = !find("outlines").checked; look(); }
    else if (key === "+" || key === "=") zoom(state.zoom * 1.25);
    else if (key === "-" || key === "−") zoom(state.zoom / 1.25);
    else if (key.toLowerCase() === "r") reset();
    else if (key.toLowerCase() === "p") pause();
    else if (key.toLowerCase() === "u") { if (!event.repeat && !state.paused) undo(); }
    else if (key.toLowerCase() === "v") open3d();
    else if (key === "?") introduce();
    else if (key.toLowerCase() === "c" && !state.paused) find("comment").focus();
    else if (tag && key.length === 1 && !state.paused) toggleTag(tag);
    else return;
    event.preventDefault();
  });

  for (const button of document.querySelectorAll(".answer")) {
    const { verdict } = button.dataset;
    button.addEventListener("click", () => answer(settings.pairs ? verdict : Number(verdict)));
  }
  for (const button of document.querySelectorAll(".tag")) button.addEventListener("click", () => toggleTag(button));
  for (const key of document.querySelectorAll(".key")) key.style.setProperty("--key", settings.outlines.find(([region]) => region === key.dataset.region)[1]);
  for (const name of ["outlines", "opacity", "brightness", "contrast"]) find(name).addEventListener("input", look);
  find("undo").addEventListener("click", undo);
  find("pause").addEventListener("click", () => pause());
  find("resume").addEventListener("click", () => pause(false));
  find("larger").addEventListener("click", () => zoom(state.zoom * 1.25));
  find("smaller").addEventListener("click", () => zoom(state.zoom / 1.25));
  find("reset").addEventListener("click", reset);
  find("theme").addEventListener("click", () => theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  find("help").addEventListener("click", introduce);
  find("begin").addEventListener("click", () => { find("intro").close(); arm(); }); // its event comes later
  find("intro").addEventListener("close", () => { arm(); clock(); stage.focus(); });
  if (find("volume")) {
    for (const [name, label] of settings.shown) find("scan").append(element("option", { value: name }, label));
    find("open3d").addEventListener("click", open3d);
    find("close3d").addEventListener("click", () => find("volume").close());
    find("volume").addEventListener("close", () => stage.focus());
    for (const name of ["scan", "side"]) find(name)?.addEventListener("change", showVolume);
    find("mask").addEventListener("change", () => viewer?.volumes[1] && viewer.setOpacity(1, find("mask").checked ? 0.5 : 0));
  }
  document.addEventListener("visibilitychange", clock);

  async function begin() {
    let stored = null;
    try { stored = localStorage.getItem("theme"); } catch { /* a browser that keeps nothing */ }
    if (stored === "light") theme("light");
    look();
    stage.style.setProperty("--views", settings.views.length);
    introduce();
    try {
      await show(await ask("/case"));
      state.busy = false;
    } catch (error) {
      say(`The first case cannot be shown (${error.message}). Please load this page again.`);
    }
  }
  begin();
})();
