// Browses a run: a list that is asked for part by part, and one episode beside another.

import { Playback, Player, ask, byId, controls, isOurs } from "/static/player.js";

const LIMIT = 50;
const FILTERS = ["policy", "task", "verdict", "validity", "reality", "judge"];
const players = [new Player(byId("screen")), new Player(byId("other"))];
const playback = new Playback(players, controls());
let facts = null;
let offset = 0;
let part = { total: 0, rows: [] };
let shown = null;
let beside = [];
let asked = 0;
let turns = Promise.resolve();

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

const query = (values) => new URLSearchParams(Object.entries(values).filter(([, value]) => value !== "" && value !== null));
const words = (text) => String(text).replaceAll("_", " ");
const chipClass = (verdict) => (verdict === "success" || verdict === "failure" ? verdict : "none");
const chip = (verdict) => element("span", `chip ${chipClass(verdict)}`, verdict);
const realWords = (real) => (real.trials === 1 ? (real.successes ? "success" : "failure") : `${real.successes} of ${real.trials} succeeded`);

function fill(select, options, all) {
  const kept = select.value;
  select.replaceChildren(...(all === null ? [] : [new Option(all, "")]), ...options.map(([value, text]) => new Option(text, value)));
  if (options.some(([value]) => value === kept)) select.value = kept;
}

function fillFilters() {
  const run = facts.runs[Number(byId("run").value || 0)];
  const named = (values) => values.map((value) => [value, words(value)]);
  fill(byId("policy"), run.policies.map((value) => [value, value]), "all policies");
  fill(byId("task"), named(run.tasks), "all tasks");
  fill(byId("verdict"), named(run.judges.length ? run.verdicts : []), "all verdicts");
  fill(byId("validity"), named(run.validity), "all");
  fill(byId("judge"), run.judges.map((value) => [value, value]), null);
  fill(byId("reality"), named(run.reality), "all");
  byId("reality-label").hidden = !run.reality.length;
  byId("validity-label").hidden = !run.validity.length;
  byId("judge-label").hidden = run.judges.length < 2;
  byId("name").textContent = `${run.name}: ${run.episodes.toLocaleString("en")} episodes`;
  document.title = `${run.name}: episodes`;
}

const filters = () => Object.fromEntries(["run", ...FILTERS].map((name) => [name, byId(name).value]));

async function guarded(work) {
  try {
    await work();
    byId("problem").hidden = true;
  } catch (error) {
    byId("problem").textContent = error.message;
    byId("problem").hidden = false;
  }
}

async function list() {
  const number = ++asked;
  const found = await ask(`/api/episodes?${query({ ...filters(), offset, limit: LIMIT })}`);
  // An answer to an earlier question may come late.
  if (number !== asked) return;
  part = found;
  byId("rows").replaceChildren(...part.rows.map(line));
  const last = Math.min(offset + LIMIT, part.total);
  const rate = part.verdicts ? `, ${part.successes} of ${part.verdicts} succeed` : "";
  byId("part").textContent = part.total ? `${offset + 1} to ${last} of ${part.total.toLocaleString("en")}${rate}` : "no such episode";
  byId("previous").disabled = offset === 0;
  byId("following").disabled = last >= part.total;
  byId("rows").scrollTop = 0;
  mark();
}

function line(row) {
  const button = element("button");
  button.type = "button";
  button.dataset.episode = row.episode;
  const extra = [];
  if (row.validity === "invalid") extra.push(row.invalid_from === null ? "invalid" : `invalid from ${row.invalid_from}`);
  if (row.probability !== null) extra.push(`p ${row.probability.toFixed(2)}`);
  if (row.real) extra.push(`real: ${realWords(row.real)}`);
  button.append(element("span", "policy", row.policy), chip(row.verdict), element("span", "place", `${words(row.task)}, ${row.start}`), element("span", "extra", extra.join(", ")));
  button.onclick = () => guarded(() => open(row.episode));
  const item = element("li");
  item.append(button);
  return item;
}

function mark() {
  for (const button of byId("rows").querySelectorAll("button")) {
    const current = shown !== null && button.dataset.episode === shown.episode && String(shown.run) === (byId("run").value || "0");
    button.setAttribute("aria-current", String(current));
    if (current) button.scrollIntoView({ block: "nearest" });
  }
}

async function open(episode) {
  const run = byId("run").value || "0";
  const chosen = beside[byId("beside").value];
  const found = await ask(`/api/episode?${query({ run, episode, judge: byId("judge").value })}`);
  shown = found.episode;
  beside = found.beside;
  byId("none").hidden = true;
  byId("work").hidden = false;
  byId("heading").textContent = `${shown.instruction || words(shown.task)}`;
  fill(byId("beside"), beside.map((other, number) => [String(number), besideWords(other)]), beside.length ? "nothing" : "nothing else was recorded from this start");
  byId("beside").disabled = !beside.length;
  // Whoever compares with a policy goes on to compare with it; else reality comes first.
  const same = chosen ? beside.findIndex((other) => other.run === chosen.run && other.policy === chosen.policy) : -1;
  const usual = beside.findIndex((other) => other.relation !== "other policy");
  byId("beside").value = same >= 0 ? String(same) : usual >= 0 ? String(usual) : "";
  byId("facts").replaceChildren(...factLines().flatMap(([name, value]) => [element("dt", "", name), element("dd", "", value)]));
  mark();
  await play();
}

function besideWords(other) {
  if (other.relation === "recorded") return "the recorded episode";
  const where = facts.runs.length > 1 ? ` (${facts.runs[other.run].name})` : "";
  const what = { real: "real, in physics: ", "other run": "same policy: ", "other policy": "" }[other.relation];
  const verdict = other.verdict === "not scored" ? "" : `, ${other.verdict}`;
  return `${what}${other.policy}${where}${verdict}`;
}

function factLines() {
  const lines = [["episode", shown.episode], ["start", shown.start], ["seed", shown.seed], ["world", shown.world], ["steps", shown.steps]];
  if (shown.probability !== null) lines.push(["judge's probability", shown.probability.toFixed(3)]);
  if (shown.real) lines.push(["in reality", realWords(shown.real)]);
  if (shown.validity) lines.push(["validity", shown.validity === "invalid" && shown.invalid_from !== null ? `invalid from frame ${shown.invalid_from}` : shown.validity]);
  return lines.filter(([, value]) => value !== null && value !== undefined);
}

async function play() {
  const other = beside[byId("beside").value];
  const pair = other ? [shown, other] : [shown];
  const layouts = await Promise.all(pair.map(({ run, episode }) => ask(`/api/layout?${query({ run, episode })}`)));
  players.forEach((player, place) => player.load(layouts[place] || null, (sheet) => `/frames.png?${query({ run: pair[place].run, episode: pair[place].episode, sheet })}`));
  byId("second").hidden = !other;
  byId("caption").replaceChildren(`${shown.policy} `, chip(shown.verdict));
  if (other) byId("other-caption").replaceChildren(`${besideWords({ ...other, verdict: "not scored" })} `, ...(other.verdict ? [chip(other.verdict)] : []));
  playback.start(layouts[0].hz);
}

async function turn(by) {
  const place = part.rows.findIndex((row) => shown && row.episode === shown.episode) + by;
  if (place >= 0 && place < part.rows.length) return open(part.rows[place].episode);
  if (place < 0 ? offset === 0 : offset + LIMIT >= part.total) return undefined;
  offset = Math.max(0, offset + by * LIMIT);
  await list();
  return open(part.rows[by > 0 ? 0 : part.rows.length - 1].episode);
}

for (const name of ["run", ...FILTERS]) {
  byId(name).onchange = () => guarded(async () => {
    offset = 0;
    if (name === "run") fillFilters();
    await list();
  });
}
byId("beside").onchange = () => guarded(play);
byId("previous").onclick = () => guarded(async () => { offset = Math.max(0, offset - LIMIT); await list(); });
byId("following").onclick = () => guarded(async () => { offset += LIMIT; await list(); });
addEventListener("keydown", (event) => {
  if (!isOurs(event)) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const onButton = event.target.closest("button") && (key === " " || key === "Enter");
  if (onButton && !event.target.closest("#rows")) return;
  // Each turn begins where the one before it ended, however fast the keys come.
  if (key === "j" || key === "k") turns = turns.then(() => guarded(() => turn(key === "j" ? 1 : -1)));
  else if (key === "b" && shown) {
    const menu = byId("beside");
    menu.selectedIndex = (menu.selectedIndex + 1) % menu.options.length;
    guarded(play);
  } else if (key === "Enter" || !shown || !playback.key(key)) return;
  event.preventDefault();
});

guarded(async () => {
  facts = await ask("/api/facts");
  fill(byId("run"), facts.runs.map((run, number) => [String(number), run.name]), null);
  byId("run-label").hidden = facts.runs.length < 2;
  fillFilters();
  await list();
  if (part.rows.length) await open(part.rows[0].episode);
});
