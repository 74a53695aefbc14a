// Plays episodes that are stored as sheets of frames: one picture holds many frames, row by row.

const KEPT_SHEETS = 12;
const HOLD_AT_END = 1200;
export const SLOW = 0.35;

export class Player {
  constructor(canvas) {
    this.canvas = canvas;
    this.layout = null;
    this.sheets = new Map();
    this.index = 0;
  }

  // layout: frames, height, width, per_sheet, columns; urlOf(sheet) is where a sheet is.
  load(layout, urlOf) {
    this.layout = layout;
    this.urlOf = urlOf;
    this.sheets.clear();
    this.index = 0;
    this.canvas.width = layout ? layout.width : 1;
    this.canvas.height = layout ? layout.height : 1;
    if (layout) this.show(0);
  }

  get frames() {
    return this.layout ? this.layout.frames : 0;
  }

  sheet(number) {
    let picture = this.sheets.get(number);
    if (!picture) {
      picture = new Image();
      const layout = this.layout;
      picture.onload = () => {
        if (layout === this.layout && Math.floor(this.index / layout.per_sheet) === number) this.show(this.index);
      };
      picture.src = this.urlOf(number);
      this.sheets.set(number, picture);
      if (this.sheets.size > KEPT_SHEETS) this.sheets.delete(this.sheets.keys().next().value);
    }
    return picture;
  }

  // Draws a frame, or as soon as its sheet is here; says whether it was drawn.
  show(index) {
    if (!this.layout) return true;
    const { frames, height, width, per_sheet: perSheet, columns } = this.layout;
    this.index = Math.max(0, Math.min(index, frames - 1));
    const number = Math.floor(this.index / perSheet);
    const picture = this.sheet(number);
    if ((number + 1) * perSheet < frames) this.sheet(number + 1);
    this.canvas.setAttribute("aria-label", `frame ${this.index + 1} of ${frames}`);
    if (!picture.complete || !picture.naturalWidth) return false;
    const place = this.index % perSheet;
    const [left, top] = [(place % columns) * width, Math.floor(place / columns) * height];
    this.canvas.getContext("2d").drawImage(picture, left, top, width, height, 0, 0, width, height);
    this.canvas.dataset.drawn = String(this.index);
    return true;
  }
}

// One clock for all players of a page, and the buttons that control it.
export class Playback {
  constructor(players, controls) {
    this.players = players;
    this.controls = controls;
    this.index = 0;
    this.playing = false;
    this.slow = false;
    this.hz = 5;
    this.timer = null;
    controls.play.onclick = () => this.toggle();
    controls.back.onclick = () => this.step(-1);
    controls.forward.onclick = () => this.step(1);
    controls.again.onclick = () => this.restart();
    controls.slow.onclick = () => this.toggleSlow();
    controls.slider.oninput = () => { this.pause(); this.seek(Number(controls.slider.value)); };
  }

  get frames() {
    return Math.max(1, ...this.players.map((player) => player.frames));
  }

  // Faster than reality: what a robot does in seven seconds is seen in two or three.
  get delay() {
    return 1000 / (this.hz * (this.slow ? SLOW : 1) * 2.5);
  }

  start(hz) {
    this.hz = hz;
    this.controls.slider.max = String(this.frames - 1);
    this.seek(0);
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) this.play();
  }

  seek(index) {
    this.index = Math.max(0, Math.min(index, this.frames - 1));
    const drawn = this.players.map((player) => player.show(this.index));
    this.controls.slider.value = String(this.index);
    this.controls.frame.textContent = `${this.index + 1} of ${this.frames}`;
    return drawn.every(Boolean);
  }

  play() {
    this.playing = true;
    if (this.index >= this.frames - 1) this.seek(0);
    this.tick(this.delay);
    this.mark();
  }

  pause() {
    this.playing = false;
    clearTimeout(this.timer);
    this.mark();
  }

  mark() {
    this.controls.play.textContent = this.playing ? "Pause" : "Play";
    this.controls.slow.setAttribute("aria-pressed", String(this.slow));
  }

  toggle() { if (this.playing) this.pause(); else this.play(); }
  toggleSlow() { this.slow = !this.slow; this.mark(); if (this.playing) this.tick(this.delay); }
  step(by) { this.pause(); this.seek(this.index + by); }
  restart() { this.seek(0); this.play(); }

  tick(delay) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (!this.playing) return;
      const drawn = this.seek(this.index >= this.frames - 1 ? 0 : this.index + 1);
      if (!drawn) this.index -= 1;
      this.tick(this.index >= this.frames - 1 ? Math.max(HOLD_AT_END, this.delay) : this.delay);
    }, delay);
  }

  // Handles a key of the keyboard; says whether it was one of ours.
  key(name) {
    const actions = {
      " ": () => this.toggle(), ArrowLeft: () => this.step(-1), ArrowRight: () => this.step(1),
      Home: () => { this.pause(); this.seek(0); }, End: () => { this.pause(); this.seek(this.frames - 1); },
      r: () => this.restart(), x: () => this.toggleSlow(),
    };
    if (!(name in actions)) return false;
    actions[name]();
    return true;
  }
}

export const token = () => document.querySelector('meta[name="token"]').content;

// The JSON answer of the server; an Error with its sentence where it refuses.
export async function ask(path, values) {
  const post = { method: "POST", headers: { "content-type": "application/json", "x-real2sim-token": token() } };
  let answer;
  try {
    answer = await fetch(path, values === undefined ? {} : { ...post, body: JSON.stringify(values) });
  } catch {
    throw new Error("The server does not answer; was it stopped? Start it again and reload this page.");
  }
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error || `error ${answer.status}`);
  return found;
}

// Whether a key press belongs to the page and not to a menu, a text or the browser.
export function isOurs(event) {
  return !(event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select, input:not([type=range]), textarea"));
}

export const byId = (id) => document.getElementById(id);
export function controls() {
  return Object.fromEntries(["play", "back", "forward", "again", "slow", "slider", "frame"].map((name) => [name, byId(name)]));
}
