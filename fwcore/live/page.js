"use strict";
// Draws what /data says, once a second. Text goes in as text: nothing of a frame becomes markup.
const SVG = "http://www.w3.org/2000/svg";
const COLOURS = ["#3b7dd8", "#e08a1e", "#3a9d5d", "#c23b3b", "#8a63c9", "#777"];
const WIDTH = 1000, HEIGHT = 190, LEFT = 70, BOTTOM = 18;

function short(value) {
  for (const [unit, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]]) {
    if (value >= size) return (value / size).toFixed(1) + " " + unit;
  }
  return value.toFixed(0);
}

function node(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const key in attributes) made.setAttribute(key, attributes[key]);
  if (text !== undefined) made.textContent = text;
  return made;
}

// Steps, as in the report: nothing is drawn before the sample that shows it.
function chart(id, times, series, levels) {
  const svg = document.getElementById(id);
  svg.replaceChildren();
  svg.setAttribute("viewBox", "0 0 " + WIDTH + " " + HEIGHT);
  svg.setAttribute("preserveAspectRatio", "none");
  let top = 1;
  for (const line of series) for (const value of line.values) top = Math.max(top, value);
  for (const level of levels) top = Math.max(top, level.value);
  top *= 1.05;
  const first = times[0], span = Math.max(1000, times[times.length - 1] - first);
  const x = (time) => LEFT + (time - first) / span * (WIDTH - LEFT - 10);
  const y = (value) => (HEIGHT - BOTTOM) * (1 - value / top) + 4;
  for (const part of [0, 0.5, 1]) {
    svg.append(node("text", { x: 4, y: y(top * part) + 8 }, short(top * part)));
  }
  for (const level of levels) {
    svg.append(node("line", { x1: LEFT, x2: WIDTH, y1: y(level.value), y2: y(level.value),
      stroke: level.colour, "stroke-dasharray": "6 4" }));
    svg.append(node("text", { x: WIDTH - 60, y: y(level.value) - 3 }, level.name));
  }
  series.forEach((line, number) => {
    let path = "";
    line.values.forEach((value, i) => {
      path += i ? "H" + x(times[i]) + "V" + y(value) : "M" + x(times[i]) + " " + y(value);
    });
    const colour = COLOURS[number % COLOURS.length];
    svg.append(node("path", { d: path, fill: "none", stroke: colour, "stroke-width": 2 }));
    const name = node("text", { x: LEFT + 8 + number * 110, y: HEIGHT - 4 }, line.name);
    name.style.fill = colour;  // a style as an attribute is what the page's policy forbids
    svg.append(name);
  });
}

function table(id, head, rows) {
  const made = document.getElementById(id);
  made.replaceChildren();
  const add = (cells, kind) => {
    const row = made.insertRow();
    cells.forEach((value, at) => {
      const cell = document.createElement(kind);
      cell.textContent = typeof value === "number" ? value.toLocaleString() : value;
      if (rows.length && typeof rows[0][at] === "number") cell.className = "number";
      row.append(cell);
    });
  };
  add(head, "th");
  for (const row of rows) add(row, "td");
}

function show(data) {
  const samples = data.samples;
  if (!samples.length) return;
  const last = samples[samples.length - 1], times = samples.map((row) => row.time_ms);
  const banner = document.getElementById("banner");
  banner.hidden = last.mode === "off";
  banner.className = last.mode;
  banner.textContent = "Conserve mode: " + last.label;
  document.getElementById("sub").textContent = last.personality + " · " +
    short(last.rates.packets) + " packets/s · " + short(last.rates.bits) + "bit/s · delay p50 " +
    (last.delay.p50_ns / 1e6).toFixed(2) + " ms, p99 " + (last.delay.p99_ns / 1e6).toFixed(2) + " ms";
  const owners = ["used", "base", "sessions", "shm", "cache"];
  const colours = { green: "#3a9d5d", red: "#c23b3b", extreme: "#7a0019" };
  chart("memory", times, owners.map((name) => ({
    name: name, values: samples.map((row) => row.memory[name] || 0) })),
  Object.keys(last.thresholds).map((name) => ({
    name: name, value: last.thresholds[name], colour: colours[name] || "#777" })));
  chart("sessions", times, [{ name: "live", values: samples.map((row) => row.live) }], []);
  const rate = (name) => samples.map((row, i) => i ? Math.max(0,
    (row.verdicts[name] - samples[i - 1].verdicts[name]) * 1000 /
    Math.max(1, times[i] - times[i - 1])) : 0);
  chart("packets", times, Object.keys(last.verdicts).map((name) => ({
    name: name, values: rate(name) })), []);
  table("interfaces", ["interface", "state", "taken", "sent", "lost", "withheld", "late"],
    Object.entries(last.interfaces).map(([name, row]) => [
      name, row.state, row.taken, row.sent, row.lost, row.withheld, row.late]));
  table("events", ["time", "event"], data.events.slice(-20).reverse().map((event) => [
    new Date(event.time_ns / 1e6).toLocaleTimeString(), event.text]));
}

async function turn() {
  try {
    const answer = await fetch("data");
    show(await answer.json());
  } catch (error) {
    document.getElementById("sub").textContent = "the run has ended, or cannot be reached";
  }
  setTimeout(turn, 1000);
}
turn();
