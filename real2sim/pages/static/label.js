// The labelling page: shows clip after clip and sends the answers.

import { Playback, Player, ask, byId, controls, isOurs } from "/static/player.js";

const KEYS = { s: "success", f: "failure", u: "unclear" };
const screen = new Player(byId("screen"));
const stills = [new Player(byId("first")), new Player(byId("last"))];
const playback = new Playback([screen], controls());
let clip = null;
let busy = false;

const sheetUrl = (id) => (number) => `/clips/${id}/${number}.png`;

function show(state) {
  byId("bar").max = Math.max(1, state.total);
  byId("bar").value = state.done;
  byId("count").textContent = `${state.done} of ${state.total}`;
  byId("rater").textContent = state.rater;
  byId("undo").disabled = !state.undo;
  clip = state.clip;
  byId("answers").hidden = false;
  for (const button of document.querySelectorAll("[data-label]")) button.hidden = !clip;
  byId("work").hidden = !clip;
  byId("end").hidden = Boolean(clip);
  if (!clip) {
    playback.pause();
    byId("counts").textContent = Object.entries(state.counts).map(([label, count]) => `${count} ${label}`).join(", ");
    byId("agreement").replaceChildren(...state.agreement.map((line) => {
      const item = document.createElement("li");
      item.textContent = line;
      return item;
    }));
    return;
  }
  byId("question").textContent = clip.instruction ? `Is this done at the end: “${clip.instruction}”?` : "Did the episode succeed?";
  for (const player of [screen, ...stills]) player.load(clip, sheetUrl(clip.id));
  stills[1].show(clip.frames - 1);
  playback.start(clip.hz);
  if (state.next) new Image().src = sheetUrl(state.next)(0);
}

async function send(path, values) {
  if (busy) return;
  busy = true;
  try {
    show(await ask(path, values));
    byId("problem").hidden = true;
  } catch (error) {
    byId("problem").textContent = error.message;
    byId("problem").hidden = false;
  } finally {
    busy = false;
  }
}

const answer = (label) => clip && send("/api/label", { clip: clip.id, label });
const undo = () => !byId("undo").disabled && send("/api/undo", {});

function onClick(button, action) {
  button.onclick = (event) => {
    // A button that was clicked lets the focus go, so that the space bar plays and does not answer again.
    if (event.detail) button.blur();
    action();
  };
}

for (const button of document.querySelectorAll("[data-label]")) onClick(button, () => answer(button.dataset.label));
onClick(byId("undo"), undo);
addEventListener("keydown", (event) => {
  if (!isOurs(event)) return;
  if (event.target.closest("button") && (event.key === " " || event.key === "Enter")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  // A key that is held down answers once.
  if (key in KEYS) { if (!event.repeat) answer(KEYS[key]); }
  else if (key === "z" || key === "Backspace") { if (!event.repeat) undo(); }
  else if (!clip || !playback.key(key)) return;
  event.preventDefault();
});

send("/api/state");
