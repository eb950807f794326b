// The page's own script: theme, zoom shared with the tables, search among the victims.
// Bokeh draws; what it must not decide (colours of text and grid) is set here from the theme.
(function () {
  "use strict";
  const root = document.documentElement;
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);

  const count = (number) => number.toLocaleString("en").replaceAll(",", " ");

  // -- theme: the system's, until the reader chooses -------------------------------------------
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  function figures() {
    return window.Bokeh ? Bokeh.documents.flatMap((doc) => doc.roots()) : [];
  }
  function paint() {
    const style = getComputedStyle(root);
    const ink = style.getPropertyValue("--ink").trim();
    const soft = style.getPropertyValue("--soft").trim();
    const rule = style.getPropertyValue("--rule").trim();
    for (const plot of figures()) {
      for (const part of [...plot.below, ...plot.left, ...plot.center, ...plot.above]) {
        if (part.type === "Legend") {
          part.label_text_color = ink;
          part.inactive_fill_color = null;
        } else if (part.type === "Grid") {
          if (part.dimension === 1) part.grid_line_color = rule;
        } else if (part.type.endsWith("Axis")) {
          part.axis_label_text_color = soft;
          part.major_label_text_color = soft;
          part.major_tick_line_color = rule;
        }
      }
    }
  }
  function theme() {
    const name = chosen || (dark.matches ? "dark" : "light");
    root.dataset.theme = name;
    byId("theme").textContent = name === "dark" ? "Light" : "Dark";
    paint();
  }
  byId("theme").addEventListener("click", () => {
    chosen = root.dataset.theme === "dark" ? "light" : "dark";
    theme();
  });
  dark.addEventListener("change", theme);

  // -- zoom: charts share one range; tables and the address (#t=10-20) move it -------------------
  function range() {
    const plot = figures()[0];
    return plot ? plot.x_range : null;
  }
  function zoom(start, end) {
    const shared = range();
    if (!shared || !(end > start)) return;
    shared.setv({ start: Math.max(0, start), end: Math.min(data.end, end) });
  }
  function noteRange() {
    const shared = range();
    if (shared) root.dataset.range = shared.start.toFixed(3) + "-" + shared.end.toFixed(3);
  }
  function follow(row) {
    const second = Number(row.dataset.second);
    const half = Math.max(data.end / 20, 1e-6);
    zoom(second - half, second + half);
    const chart = document.querySelector(".chart");
    if (chart) chart.scrollIntoView({ behavior: "smooth", block: "center" });
  }
  document.addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-second]");
    if (row) follow(row);
  });
  function address() {
    const match = /t=([\d.]+)-([\d.]+)/.exec(location.hash);
    if (match) zoom(Number(match[1]), Number(match[2]));
  }
  window.addEventListener("hashchange", address);
  const whole = byId("whole");
  if (whole) whole.addEventListener("click", () => zoom(0, data.end));

  // -- victims: all are in the page, as columns; the first matches are shown ---------------------
  const SHOWN = 200;
  function cell(row, text, kind) {
    const td = document.createElement("td");
    td.textContent = text;
    if (kind) td.className = kind;
    row.appendChild(td);
  }
  function search() {
    const victims = data.victims;
    const text = byId("search").value.trim().toLowerCase();
    const cause = byId("cause").value;
    const body = byId("victims");
    const fragment = document.createDocumentFragment();
    let found = 0;
    for (let at = 0; at < victims.packet.length; at++) {
      const why = victims.causes[victims.cause[at]];
      if (cause && why !== cause) continue;
      const state = victims.states[victims.state[at]];
      const inspection = victims.inspections[victims.inspection[at]];
      if (text && !(victims.key[at] + " " + state + " policy " + victims.policy[at] + " " +
          inspection).toLowerCase().includes(text)) continue;
      if (found++ >= SHOWN) continue;
      const row = document.createElement("tr");
      cell(row, count(victims.packet[at]), "n");
      cell(row, count(victims.created[at]), "n");
      cell(row, victims.key[at], "code");
      cell(row, why, "bad");
      cell(row, (victims.age[at] / 1000).toFixed(3), "n");
      cell(row, (victims.idle[at] / 1000).toFixed(3), "n");
      cell(row, count(victims.bytes[at]), "n");
      cell(row, state);
      cell(row, victims.policy[at], "n");
      cell(row, inspection);
      fragment.appendChild(row);
    }
    body.replaceChildren(fragment);
    byId("found").textContent = count(found) + " of " +
      (victims.all > victims.packet.length ? "the " + count(victims.packet.length) +
        " here, of " + count(victims.all) + " sessions taken" : count(victims.packet.length)) +
      (found > SHOWN ? ", the first " + SHOWN + " shown" : "");
  }
  if (byId("search")) {
    for (const name of data.victims.causes) byId("cause").add(new Option(name, name));
    byId("search").addEventListener("input", search);
    byId("cause").addEventListener("change", search);
    search();
  }

  // -- start -------------------------------------------------------------------------------------
  theme();
  function ready() {
    const shared = range();
    if (!figures().length && data.charts) return setTimeout(ready, 20);
    paint();
    if (shared) {
      for (const name of ["start", "end"]) shared.properties[name].change.connect(noteRange);
      noteRange();
      address();
    }
    root.dataset.ready = "yes";
  }
  ready();
})();
