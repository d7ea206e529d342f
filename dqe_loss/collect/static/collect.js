// The rater's page: shows what the server asks, and sends what the rater says. A case leaves the screen only after the
// server has said that the answer is on its disk.
import { base, find, settings } from "./page.js";
import { fetchAhead, forget, sidesOf } from "./pictures.js";
import { openVolume } from "./volume.js";

const SOON = 250; // milliseconds in which a key is still meant for the case before
const stage = find("case");
const state = { now: null, busy: true, paused: false, zoom: 1, since: 0, spent: 0, arming: 0, tags: new Set() };
const unsent = new Map(); // case to remarks of one that an undo has put off

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
  clock(); // reading them again is no time for the case
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
  find("count").textContent = `${asked?.training ? "practice case, " : ""}${done} of ${total} done${minutes(left)}`;
  if (asked && !same) {
    stage.replaceChildren(...await sidesOf(asked));
    window.scrollTo(0, 0);
    state.spent = 0;
    const remarks = unsent.get(asked.id) ?? asked;
    find("comment").value = remarks.comment;
    state.tags = new Set(remarks.tags);
    for (const button of document.querySelectorAll(".tag")) {
      button.setAttribute("aria-pressed", state.tags.has(button.dataset.tag));
    }
  }
  if (!asked) stage.replaceChildren();
  state.now = next;
  if (!asked) state.paused = false; // there is nothing to pause
  layOut();
  arm();
  state.since = 0;
  clock();
  find("announce").textContent = asked ? `${asked.training ? "Practice case" : "Case"} ${done + 1} of ${total}` : "All cases are rated";
  document.body.dataset.case = asked ? asked.id : "";
  document.body.dataset.done = done;
  forget([asked?.id, next.ahead?.id].filter(Boolean));
  if (next.ahead) fetchAhead(next.ahead);
}

/** What is seen and can be pressed, by what is asked and whether the rater pauses. */
function layOut() {
  const { case: asked, progress } = state.now;
  find("done").hidden = Boolean(asked);
  find("paused").hidden = !state.paused;
  stage.hidden = find("controls").hidden = !asked || state.paused;
  find("pause").setAttribute("aria-pressed", state.paused);
  find("pause").disabled = !asked;
  find("undo").disabled = state.paused || progress.done === 0;
  if (find("open3d")) find("open3d").disabled = !asked || state.paused;
}

async function ask(path, body) {
  const options = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const response = await fetch(base + path, options);
  // A page of a proxy says no more than that the server did not answer.
  const content = await response.json().catch(() => { throw new TypeError("no connection to the server"); });
  if (response.ok) return content;
  const error = new Error(content.problem);
  error.stale = response.status === 409;
  throw error;
}

function tell(error) {
  if (error instanceof TypeError) say("No connection to the server. Your answers so far are saved; answer again when it is back.");
  else say(error.message);
}

async function change(path, body) {
  if (state.busy) return;
  state.busy = true;
  stage.classList.add("busy");
  try {
    await show(await ask(path, body));
    say("");
  } catch (error) {
    if (error.stale) await ask("/case").then(show).then(() => say(`${error.message}. The current case is shown now.`), tell);
    else tell(error);
  } finally {
    state.busy = false;
    stage.classList.remove("busy");
  }
}

function answer(verdict) {
  if (!state.now?.case || state.paused || !document.body.dataset.ready) return;
  clock();
  unsent.delete(state.now.case.id);
  change("/answer", {
    id: state.now.case.id,
    turn: state.now.turn,
    verdict,
    comment: find("comment").value,
    tags: [...state.tags],
    seconds: state.spent / 1000,
  });
}

function undo() {
  if (!state.now?.progress.done || state.paused || state.busy) return;
  // What was written on the case that is shown waits until it comes again.
  if (state.now.case) unsent.set(state.now.case.id, { comment: find("comment").value, tags: [...state.tags] });
  change("/undo", { turn: state.now.turn });
}

// ---- what the rater can change

function pause(paused = !state.paused) {
  if (!state.now?.case) return;
  clock();
  state.paused = paused;
  layOut();
  arm();
  clock();
  if (paused) find("resume").focus();
  else toStage();
}

/** Keys go to the case; a page that is longer than the window stays where it is. */
const toStage = () => stage.focus({ preventScroll: true });

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

function open3d() {
  if (find("volume") && state.now?.case && !state.paused && !state.busy) openVolume(state.now.case.id);
}

// ---- keys and clicks

const verdicts = settings.pairs
  ? { 1: "left", ArrowLeft: "left", 2: "right", ArrowRight: "right", 3: "same", ArrowDown: "same" }
  : Object.fromEntries(settings.answers);

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.querySelector("dialog[open]")) return;
  if (event.target === find("comment")) {
    if (event.key === "Enter" || event.key === "Escape") toStage();
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
  else if (key.toLowerCase() === "u") { if (!event.repeat) undo(); }
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
find("intro").addEventListener("close", () => { arm(); clock(); toStage(); });
find("open3d")?.addEventListener("click", open3d);
find("volume")?.addEventListener("close", toStage);
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
