// The page's own script: theme, zoom shared with the tables, tables to search and sort.
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
    const card = style.getPropertyValue("--card").trim();
    for (const plot of figures()) {
      for (const part of [...plot.below, ...plot.left, ...plot.center, ...plot.above]) {
        if (part.type === "Legend") {
          part.label_text_color = ink;
          part.inactive_fill_color = null;
        } else if (part.type === "Label" && part.name === "threshold") {
          part.background_fill_color = card;
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
  // -- small windows: legends in rows that fit, no names where there is no room -------------------
  function fit() {
    for (const plot of figures()) {
      const width = plot.inner_width || root.clientWidth - 120;
      const narrow = root.clientWidth < 600;
      plot.min_border_left = narrow ? 44 : 80;
      for (const part of [...plot.above, ...plot.center]) {
        if (part.type === "Legend") {
          part.ncols = narrow ? Math.max(2, Math.floor(width / 125)) : 8;
        } else if (part.type === "Label" && part.name === "threshold") {
          part.text = part.tags[narrow ? 1 : 0];
        }
      }
      for (const glyph of plot.renderers) {
        if (glyph.name === "band names") glyph.visible = !narrow;
      }
    }
  }
  window.addEventListener("resize", fit);
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

  // -- tables to search and sort: their rows are in the page as columns, the first are shown ------
  const SHOWN = 200;
  function size(bytes) {
    if (Math.abs(bytes) < 1024) return bytes + " B";
    for (const unit of ["KiB", "MiB", "GiB"]) {
      bytes /= 1024;
      if (Math.abs(bytes) < 1023.5) {
        return (Math.abs(bytes) < 99.95 ? Number(bytes.toPrecision(3)) : bytes.toFixed(0)) +
          " " + unit;
      }
    }
    return Number((bytes / 1024).toPrecision(3)) + " TiB";
  }
  const WRITTEN = {
    count: count, bytes: size, seconds: (ms) => (ms / 1000).toFixed(3), code: (text) => text,
  };
  function searchable(table) {
    const columns = table.columns;
    const rows = columns[0].values.length;
    const head = byId(table.id).tHead.rows[0].cells;
    const body = byId(table.id).tBodies[0];
    const input = byId(table.id + "-search");
    const menu = byId(table.id + "-choose");
    let order = Array.from({ length: rows }, (_, at) => at);
    let sorted = -1, down = false;
    const word = (column, at) =>
      column.kind === "word" ? column.words[column.values[at]] : String(column.values[at]);
    const haystack = (at) => columns.filter((column) => !["bytes", "seconds"].includes(column.kind))
      .map((column) => (column.name === "policy" ? "policy " : "") + word(column, at))
      .join(" ").toLowerCase();
    const hay = order.map(haystack);
    function cell(row, column, at) {
      const td = document.createElement("td");
      const text = column.kind === "word" ? word(column, at) : null;
      td.textContent = text === null ? WRITTEN[column.kind](column.values[at]) : text;
      td.className = text !== null ? column.tones[text] || "" :
        column.kind === "code" ? "code" : "n";
      row.appendChild(td);
    }
    function show() {
      const wanted = input.value.trim().toLowerCase();
      const chosen = menu ? menu.value : "";
      const fragment = document.createDocumentFragment();
      let found = 0;
      for (const at of order) {
        if (chosen && word(columns[table.choose], at) !== chosen) continue;
        if (wanted && !hay[at].includes(wanted)) continue;
        if (found++ >= SHOWN) continue;
        const row = document.createElement("tr");
        for (const column of columns) cell(row, column, at);
        fragment.appendChild(row);
      }
      body.replaceChildren(fragment);
      byId(table.id + "-found").textContent = count(found) + " of " +
        (table.every > rows ? "the " + count(rows) + " here, of " + count(table.every) :
          count(rows)) + " " + table.noun + (found > SHOWN ? ", the first " + SHOWN + " shown" : "");
    }
    function sort(at) {
      const column = columns[at];
      down = sorted === at ? !down : ["count", "bytes", "seconds"].includes(column.kind);
      sorted = at;
      const text = column.kind === "word" || column.kind === "code";
      const value = (row) => text ? word(column, row) : column.values[row];
      order.sort((a, b) => {
        const one = value(a), two = value(b);
        const sign = one < two ? -1 : one > two ? 1 : 0;
        return (down ? -sign : sign) || a - b;
      });
      for (const th of head) th.removeAttribute("aria-sort");
      head[at].setAttribute("aria-sort", down ? "descending" : "ascending");
      show();
    }
    for (let at = 0; at < head.length; at++) {
      head[at].tabIndex = 0;
      head[at].addEventListener("click", () => sort(at));
      head[at].addEventListener("keydown", (event) => { if (event.key === "Enter") sort(at); });
    }
    if (menu) {
      for (const name of columns[table.choose].words) menu.add(new Option(name, name));
      menu.addEventListener("change", show);
    }
    input.addEventListener("input", show);
    show();
  }
  data.tables.forEach(searchable);

  // -- start -------------------------------------------------------------------------------------
  theme();
  function ready() {
    const shared = range();
    if (!figures().length && data.charts) return setTimeout(ready, 20);
    paint();
    fit();
    if (shared) {
      for (const name of ["start", "end"]) shared.properties[name].change.connect(noteRange);
      noteRange();
      address();
    }
    root.dataset.ready = "yes";
  }
  ready();
})();
