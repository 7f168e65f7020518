// The page shows what `content.py` put into its data blocks and computes nothing of its own.
// What is chosen stands in the address alone: a control changes the address, the address is shown.
// Text becomes text nodes, never HTML.
"use strict";

const MISSING = "–";
const FIRST_ROWS = 100; // of a table, until all are asked for
const PICKERS = ["dataset", "source", "protocol", "trained", "modality", "metric"];
const FILTERS = ["sort", "q", "role"];

const $ = (id) => document.getElementById(id);
const blocks = new Map();

function data(id) {
  if (!blocks.has(id)) blocks.set(id, JSON.parse($(id).textContent));
  return blocks.get(id);
}

function make(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function draw(tag, attributes, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value !== undefined && value !== null) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null));
  return element;
}

function numeral(value) {
  if (value === null || value === undefined) return MISSING;
  const text = Number.isInteger(value) ? String(value) : value.toPrecision(6);
  return text.replace("-", "−");
}

const signed = (value) => (value > 0 ? "+" : "") + numeral(value);

// A name may be broken after an underscore.
function breakable(name) {
  return name.split(/(?<=_)/).flatMap((part) => [part, make("wbr")]).slice(0, -1);
}

// Our own sentences have `code` and **bold**.
function rich(text) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*)/).map((part) => {
    if (part.startsWith("`")) return make("code", {}, part.slice(1, -1));
    return part.startsWith("**") ? make("strong", {}, part.slice(2, -2)) : part;
  });
}

// ---- What is chosen ------------------------------------------------------------------------

function address() {
  return new URLSearchParams(location.hash.slice(1));
}

// Every choice as it is wanted where that exists, else the first that there is.
function viewOf(wanted) {
  const view = { options: {}, unknown: [] };
  const choose = (key, options) => {
    const value = wanted.get(key);
    const known = options.some((option) => option.value === value);
    if (value !== null && !known) view.unknown.push(`${key} “${value}”`);
    view.options[key] = options;
    view[key] = known ? value : options[0].value;
  };
  let groups = data("index").groups.map((group, place) => ({ ...group, place }));
  for (const key of ["dataset", "source", "protocol", "trained"]) {
    choose(key, [...new Set(groups.map((g) => g[key]))].map((v) => ({ value: v, label: v })));
    groups = groups.filter((group) => group[key] === view[key]);
  }
  view.group = groups[0];
  const { deployments, metrics } = view.group;
  choose("modality", deployments.map((d) => ({ value: d.name, label: d.label })));
  choose("metric", metrics.map((m) => ({ value: m.name, label: m.label })));
  for (const key of FILTERS) view[key] = wanted.get(key) ?? "";
  return view;
}

let shown = null; // the address of what is on the screen

// Pickers leave a step for the back button; sorting and filtering do not.
function go(changes, step) {
  const wanted = address();
  for (const [key, value] of Object.entries(changes)) wanted.set(key, value);
  const view = viewOf(wanted);
  const next = new URLSearchParams(PICKERS.map((key) => [key, view[key]]));
  for (const key of FILTERS) if (view[key]) next.set(key, view[key]);
  view.unknown = [];
  shown = `#${next}`;
  render(view);
  if (step) location.hash = shown;
  else location.replace(shown);
}

addEventListener("hashchange", () => {
  if (location.hash === shown) return;
  shown = location.hash;
  render(viewOf(address()));
});

// ---- Tables --------------------------------------------------------------------------------

const collator = new Intl.Collator("en", { numeric: true });

// Columns are {id, label, numeric, better, key(row), cell(row)}; a cell is a td or th.
class Grid {
  constructor(id, onSort) {
    this.table = $(id);
    this.onSort = onSort;
    this.table.tHead.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) this.onSort(this.after(button.dataset.column));
    });
  }

  // Best first, then the other way, then the order of the report.
  after(id) {
    const column = this.columns.find((c) => c.id === id);
    const best = column.better === "higher" ? `-${id}` : id;
    const other = best === id ? `-${id}` : id;
    return this.sort === best ? other : this.sort === other ? "" : best;
  }

  // bodies: [{heading, rows}]; each is sorted by itself.
  show({ caption, columns, bodies, sort }) {
    const labels = JSON.stringify(columns.map((c) => [c.id, c.label]));
    if (labels !== this.labels) {
      this.labels = labels;
      this.limit = FIRST_ROWS;
      this.table.tHead.replaceChildren(make("tr", {}, columns.map(heading)));
    }
    this.columns = columns;
    this.bodies = bodies;
    this.table.caption.replaceChildren(make("span", {}, caption));
    this.order(sort);
  }

  order(sort) {
    closeCard();
    const descending = sort.startsWith("-");
    const column = this.columns.find((c) => c.id === (descending ? sort.slice(1) : sort));
    this.sort = column ? sort : "";
    [...this.table.tHead.rows[0].cells].forEach((th, place) => {
      const now = this.columns[place] === column;
      if (now) th.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else th.removeAttribute("aria-sort");
    });
    for (const old of this.table.querySelectorAll("tbody")) old.remove();
    for (const { heading, rows } of this.bodies) {
      const body = make("tbody", {});
      const span = { colspan: this.columns.length };
      if (heading) {
        const title = make("th", { ...span, scope: "rowgroup" }, heading);
        body.append(make("tr", { class: "group" }, title));
      }
      const sorted = column ? sortedBy(column, rows, descending) : rows;
      for (const row of sorted.slice(0, this.limit)) {
        body.append(make("tr", {}, this.columns.map((c) => c.cell(row))));
      }
      if (rows.length > this.limit) {
        const button = make("button", { type: "button" }, `Show all ${rows.length} rows`);
        button.addEventListener("click", () => {
          this.limit = Infinity;
          this.order(this.sort);
        });
        body.append(make("tr", { class: "more-rows" }, make("td", span, button)));
      }
      this.table.append(body);
    }
  }

  get said() {
    const column = this.columns.find((c) => c.id === this.sort.replace(/^-/, ""));
    const way = this.sort.startsWith("-") ? "descending" : "ascending";
    return column ? `, sorted by ${column.label}, ${way}` : "";
  }
}

function heading(column) {
  const button = make("button", { type: "button", "data-column": column.id }, column.label);
  return make("th", { scope: "col", class: column.numeric ? "number" : null }, button);
}

// What has no value stays last, either way.
function sortedBy(column, rows, descending) {
  const keyed = rows.map((row) => [column.key(row), row]);
  const [known, rest] = [true, false].map((is) => keyed.filter(([k]) => (k !== null) === is));
  const compare = column.numeric ? (a, b) => a[0] - b[0] : (a, b) => collator.compare(a[0], b[0]);
  known.sort(descending ? (a, b) => compare(b, a) : compare);
  return [...known, ...rest].map(([, row]) => row);
}

// ---- Cards: what is behind a cell, on hover, focus or tap ------------------------------------

const behind = new WeakMap(); // cell → function that makes the content of its card
const card = { node: null, cell: null, pinned: false, timer: 0 };

function withCard(cell, content) {
  cell.classList.add("more");
  behind.set(cell, content);
  return cell;
}

function opener(label, ...children) {
  const attributes = { type: "button", class: "open", "aria-expanded": "false" };
  return make("button", { ...attributes, "aria-label": label }, ...children);
}

function openCard(cell, pinned) {
  if (cell !== card.cell) {
    closeCard();
    const close = make("button", { type: "button", class: "close", "aria-label": "Close" }, "×");
    const content = behind.get(cell)();
    const attributes = { id: "card", class: "card", role: "group", "aria-label": "Evidence" };
    card.node = make("div", attributes, close, content);
    card.cell = cell;
    cell.append(card.node);
    for (const button of cell.querySelectorAll(".open")) {
      button.setAttribute("aria-expanded", "true");
      button.setAttribute("aria-describedby", "card-brief");
    }
    placeCard();
  }
  card.pinned = pinned;
  card.node.classList.toggle("pinned", pinned);
}

function closeCard() {
  clearTimeout(card.timer);
  if (!card.cell) return;
  const inside = card.node.contains(document.activeElement);
  for (const button of card.cell.querySelectorAll(".open")) {
    button.setAttribute("aria-expanded", "false");
    button.removeAttribute("aria-describedby");
    if (inside) button.focus();
  }
  card.node.remove();
  Object.assign(card, { node: null, cell: null, pinned: false });
}

// Beside its cell, wholly inside the window; at the foot of a narrow one (by the style sheet).
function placeCard() {
  if (!card.cell) return;
  const { style } = card.node;
  if (matchMedia("(max-width: 40rem)").matches) {
    style.left = style.top = "";
    return;
  }
  const cell = card.cell.getBoundingClientRect();
  const own = card.node.getBoundingClientRect();
  const room = { x: document.documentElement.clientWidth - 8, y: innerHeight - 8 };
  const below = cell.bottom + own.height <= room.y;
  const above = cell.top - own.height >= 8;
  const y = below ? cell.bottom : above ? cell.top - own.height : room.y - own.height;
  style.left = `${Math.max(8, Math.min(cell.left, room.x - own.width))}px`;
  style.top = `${Math.max(8, y)}px`;
}

const cellOf = (event) => (event.target instanceof Element ? event.target.closest(".more") : null);

document.addEventListener("pointerover", (event) => {
  if (event.pointerType !== "mouse" || card.pinned) return;
  const cell = cellOf(event);
  clearTimeout(card.timer);
  if (cell === card.cell) return;
  if (cell) card.timer = setTimeout(() => openCard(cell, false), 120);
  else if (!card.cell.contains(document.activeElement)) card.timer = setTimeout(closeCard, 250);
});
document.addEventListener("focusin", (event) => {
  const cell = cellOf(event);
  if (cell === null) closeCard();
  else if (cell !== card.cell) openCard(cell, false);
});
document.addEventListener("click", (event) => {
  const cell = cellOf(event);
  const inCard = card.node?.contains(event.target);
  if (inCard ? event.target.closest(".close") : !cell || (card.pinned && cell === card.cell)) {
    closeCard();
  } else if (!inCard) {
    openCard(cell, true);
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") closeCard();
});
addEventListener("scroll", (event) => {
  if (!card.node?.contains(event.target)) placeCard();
}, { capture: true, passive: true });
addEventListener("resize", placeCard);

function pairs(...entries) {
  return entries.filter((e) => e).map(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]);
}

// ---- The leaderboard -------------------------------------------------------------------------

const board = new Grid("leaderboard", (sort) => go({ sort }, false));

function columnsOf(view, content, rows) {
  const metric = view.group.metrics.findIndex((m) => m.name === view.metric);
  const { heading, direction } = view.group.metrics[metric];
  const method = (row) => content.methods[row.method];
  const text = (id, label, read) => ({
    id,
    label,
    key: read,
    cell: (row) => make("td", { class: id }, read(row)),
  });
  const detail = (row) => () => evidence(view, content, row, metric);
  const columns = [
    {
      id: "method",
      label: "Method",
      key: (row) => method(row).name,
      cell: (row) => make("th", { scope: "row" }, breakable(`${method(row).name} ${method(row).mark}`.trim())),
    },
    text("family", "Family", (row) => method(row).family),
    text("role", "Role", (row) => method(row).role),
    {
      id: "value",
      label: heading,
      numeric: true,
      better: direction,
      key: (row) => row.means[metric],
      cell: (row) => {
        const words = row.texts[metric];
        const best = row.best && metric === 0;
        const label = `${method(row).name}: ${words}${best ? ", in the best set" : ""}`;
        const button = opener(label, best ? make("strong", {}, words) : words);
        return withCard(make("td", { class: "number" }, button), detail(row));
      },
    },
  ];
  if (rows.some((row) => row.gain)) {
    columns.push({
      id: "gain",
      label: `Gain in ${content.primary}`,
      numeric: true,
      better: "higher",
      key: (row) => row.gain?.mean ?? null,
      cell: (row) => {
        const cell = make("td", { class: "number" }, row.gain?.text ?? MISSING);
        if (row.gain?.mark) cell.append(" ", make("span", { class: MARKS[row.gain.mark] }, row.gain.mark));
        return row.gain ? withCard(cell, detail(row)) : cell;
      },
    });
  }
  if (rows.some((row) => row.gain?.interval)) {
    const scale = scaleOf(rows, method);
    columns.push({
      id: "interval",
      label: "95 % interval",
      numeric: true,
      better: "higher",
      key: (row) => row.gain?.low ?? null,
      cell: (row) => {
        if (!row.gain?.interval) return make("td", { class: "number" }, MISSING);
        const words = make("span", {}, row.gain.interval);
        const cell = make("td", { class: "number interval" }, strip(row.gain, scale), words);
        return withCard(cell, detail(row));
      },
    });
  }
  if (rows.some((row) => row.gain)) {
    columns.push({
      id: "worse",
      label: "Worse in",
      numeric: true,
      better: "lower",
      key: (row) => row.gain?.worse ?? null,
      cell: (row) => make("td", { class: "number" }, row.gain?.worseIn ?? MISSING),
    });
  }
  columns.push({
    id: "coverage",
    label: units(content),
    numeric: true,
    better: "higher",
    key: (row) => row.n,
    cell: (row) => make("td", { class: "number" }, row.coverage),
  });
  return columns;
}

const units = (content) => (content.unit === "fold" ? "Folds" : "Seeds");

const MARKS = { "▲": "better", "▼": "worse", "n.s.": "ns" };

// Half the width of the axis: the intervals of methods decide, others may be cut.
function scaleOf(rows, method) {
  const all = rows.filter((row) => row.gain?.interval);
  const own = all.filter((row) => method(row).role === "method");
  const ends = (own.length ? own : all).flatMap((row) => [row.gain.low, row.gain.high]);
  return Math.max(...ends.map(Math.abs)) * 1.05 || 1;
}

// A gain and its interval around zero; an arrow where the interval goes on.
function strip(gain, scale) {
  const [half, y] = [50, 8];
  const x = (value) => half + half * Math.max(-1, Math.min(1, value / scale));
  const ends = [gain.low, gain.high];
  const arrows = ends.map((value, place) => {
    if (Math.abs(value) <= scale) return null;
    const [tip, back] = value < 0 ? [0, 5] : [100, 95];
    return draw("path", { d: `M${back} ${y - 4}L${tip} ${y}L${back} ${y + 4}`, class: "bar" });
  });
  const inside = Math.abs(gain.mean) <= scale;
  const attributes = { viewBox: "-4 0 108 16", class: `strip ${MARKS[gain.mark] ?? ""}` };
  return draw(
    "svg",
    { ...attributes, "aria-hidden": "true" },
    draw("line", { x1: half, x2: half, y1: 0, y2: 16, class: "zero" }),
    draw("line", { x1: x(gain.low), x2: x(gain.high), y1: y, y2: y, class: "bar" }),
    arrows,
    inside ? draw("circle", { cx: x(gain.mean), cy: y, r: 3.5, class: "dot" }) : null,
  );
}

const VERDICTS = {
  "▲": "significantly better than the reference",
  "▼": "significantly worse than the reference",
  "n.s.": "not significant, which is no proof of equality",
};

function evidence(view, content, row, metric) {
  const method = content.methods[row.method];
  const { gain } = row;
  const shownMetric = view.group.metrics[metric];
  const brief = [[shownMetric.heading, row.texts[metric]], [units(content), row.coverage]];
  const rest = [];
  if (gain) {
    const spread = gain.sd === MISSING ? "" : ` ± ${gain.sd}`;
    const label = `Gain over ${content.reference} in ${content.primary}`;
    brief.push([label, `${gain.text}${spread} ${gain.mark}`]);
    brief.push(["Negative transfer", `worse in ${gain.worseIn} ${content.unit}s`]);
  }
  if (gain?.interval) {
    const verdict = VERDICTS[gain.mark] ?? `no mark: a ${method.role} is in no family of tests`;
    brief.push(["95 % interval", gain.interval]);
    brief.push(["p, corrected (Holm)", `${gain.pHolm}; ${verdict}`]);
    rest.push(["p, uncorrected", gain.p], ["Effect size d", gain.effect]);
    rest.push(["Smallest detectable gain", gain.detectable]);
    rest.push(["Better / practically equal / worse, %", gain.practical]);
    rest.push(["Seeds needed for this gain", gain.seedsNeeded], ["Test", content.test]);
  } else if (gain) {
    const why = content.whyNot || "not all runs are there";
    rest.push(["Test", `none: ${why}`]);
  }
  if (row.placebo) {
    brief.push(["Placebo gain, with wrong partners", row.placebo.gain]);
    brief.push(["Gain − placebo gain", row.placebo.difference]);
    brief.push(["95 % interval of that", row.placebo.interval]);
    rest.push(["Runs of the placebo", row.placebo.runs.join(", ")]);
  }
  if (row.best) rest.push(["Best set", "cannot be told from the best method"]);
  if (shownMetric.note) rest.push([shownMetric.label, shownMetric.note]);
  return [
    make("h3", {}, breakable(method.name)),
    make("p", { class: "kind" }, `${method.family}, ${method.role}. ${content.rows[row.deployment].title}`),
    make("div", { id: "card-brief" }, make("dl", {}, pairs(...brief))),
    make("dl", {}, pairs(...rest)),
    runsOf(content, row, gain, metric === 0, shownMetric),
    method.reference ? make("p", { class: "source" }, method.reference) : null,
  ];
}

// The records behind a row: one line a run; the reference's beside it where a gain rests on it.
function runsOf(content, row, gain, primary, metric) {
  const { runs, values } = content;
  const column = values[row.deployment]?.[metric.name];
  const of = (name) => runs.id.map((_, i) => i).filter((i) => content.methods[runs.method[i]].name === name);
  const own = of(content.methods[row.method].name);
  if (!own.length) return make("p", {}, "No run has scores.");
  const paired = gain && primary;
  const place = (i) => `${runs.fold[i]} ${runs.seed[i]}`;
  const other = new Map(paired ? of(content.reference).map((i) => [place(i), i]) : []);
  const named = (words, number) => make("th", { scope: "col", class: number ? "number" : null }, words);
  const cell = (words) => make("td", { class: "number" }, words);
  const id = (i) => make("td", {}, make("code", {}, i === undefined ? MISSING : runs.id[i]));
  const head = [named("fold", true), named("seed", true), named(metric.label, true), named("run")];
  const repeated = new Set(runs.seed).size > 1 && content.unit === "fold";
  const mean = repeated ? `${content.reference}, mean over seeds` : content.reference;
  if (paired) head.push(named(mean, true), named("its run"), named("gain", true));
  const told = new Set(); // a fold's gain is that of the means over its seeds: said once
  const lines = own.map((i) => {
    const cells = [runs.fold[i], runs.seed[i], numeral(column?.[i])].map((v) => cell(String(v)));
    cells.push(id(i));
    if (paired) {
      const unit = runs[content.unit][i];
      const difference = told.has(unit) ? "″" : signed(gain.by[unit]);
      told.add(unit);
      const j = other.get(place(i));
      cells.push(cell(numeral(gain.reference[unit])), id(j), cell(difference));
    }
    return make("tr", {}, cells);
  });
  const caption = column ? `${own.length} runs` : `${own.length} runs, over all of which it is computed at once`;
  const table = make(
    "table",
    {},
    make("caption", {}, caption),
    make("thead", {}, make("tr", {}, head)),
    make("tbody", {}, lines),
  );
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Runs" }, table);
}

function renderBoard(view, content) {
  const matches = (row) => {
    const { name, family, role } = content.methods[row.method];
    const found = `${name} ${family} ${role}`.toLowerCase().includes(view.q.toLowerCase());
    return found && (!view.role || role === view.role);
  };
  const rowsOf = (name) => content.rows[name].rows.map((row) => ({ ...row, deployment: name }));
  const all = rowsOf(view.modality);
  const rows = all.filter(matches);
  const bodies = [{ rows }];
  const bounds = view.group.deployments.find((d) => d.bounds);
  if (bounds && bounds.name !== view.modality) {
    const others = rowsOf(bounds.name).filter(matches);
    const heading = content.rows[bounds.name].title;
    if (others.length) bodies.push({ heading, rows: others });
  }
  const { title, answer } = content.rows[view.modality];
  $("answer").replaceChildren(...answer.map((sentence) => make("p", {}, sentence)));
  board.show({
    caption: `${title}. ${content.errorBars}.`,
    columns: columnsOf(view, content, all),
    bodies,
    sort: view.sort,
  });
  const roles = [...new Set(content.methods.map((m) => m.role))];
  options($("filters").role, [{ value: "", label: "all" }, ...roles.map((r) => ({ value: r, label: r }))], view.role);
  if ($("filters").q.value !== view.q) $("filters").q.value = view.q;
  const unknown = view.unknown.length ? `Not in this report: ${view.unknown.join(", ")}. ` : "";
  $("status").textContent = `${unknown}${rows.length} of ${all.length} methods${board.said}`;
}

// ---- The rest of the page --------------------------------------------------------------------

function options(select, entries, value) {
  const key = JSON.stringify(entries);
  if (select.dataset.entries !== key) {
    select.dataset.entries = key;
    select.replaceChildren(...entries.map((e) => make("option", { value: e.value }, e.label)));
  }
  select.value = value;
}

function renderGroup(view, content) {
  document.title = `${content.title}: co-learning leaderboard`;
  $("title").textContent = content.title;
  const flags = content.flags.map((flag) => make("li", {}, flag));
  if (view.source !== "real") flags.unshift(make("li", {}, `${view.source.toUpperCase()} data: simulated, not measured`));
  $("flags").replaceChildren(...flags);
  $("notes").replaceChildren(...content.notes.map((note) => make("p", {}, note)));
  $("facts").replaceChildren(...pairs(...content.facts).flat());
  const across = data("index").across.filter((a) =>
    a.source === view.source && a.protocol === view.protocol && (a.dataset ?? view.dataset) === view.dataset,
  );
  $("across").replaceChildren(...across.flatMap(acrossDatasets));
  renderFigures(view, content);
}

function acrossDatasets(comparison) {
  const { title, before, header, rows, after = [] } = comparison;
  const words = (texts) => texts.map((text) => make("p", {}, text));
  if (!rows) return [make("h2", {}, title), ...words(before)];
  const number = (place) => ({ class: place ? "number" : null });
  const head = header.map((name, place) => make("th", { scope: "col", ...number(place) }, name));
  const lines = rows.map((cells) =>
    make("tr", {}, cells.map((words, place) => make(place ? "td" : "th", { ...number(place), scope: place ? null : "row" }, words))),
  );
  const table = make("table", {}, make("caption", {}, title), make("thead", {}, make("tr", {}, head)), make("tbody", {}, lines));
  const scroll = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": title }, table);
  return [make("h2", {}, title), ...words(before), scroll, ...words(after)];
}

function renderFigures(view, content) {
  const own = data("index").figures.map((figure, place) => ({ ...figure, place })).filter((f) =>
    f.group === null ? f.source === view.source && f.protocol === view.protocol : f.group === view.group.place,
  );
  own.sort((a, b) => a.order - b.order);
  const figures = own.map(({ place, title, width, height }) => {
    const image = make("img", { alt: `${title}: ${content.title}`, width, height });
    setTimeout(async () => { image.src = await picture(place); });
    const scroll = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": title }, image);
    return make("figure", {}, make("figcaption", {}, title), scroll);
  });
  if (!figures.length) figures.push(make("p", {}, "No figures were drawn."));
  $("figures").replaceChildren(...figures);
}

async function picture(place) {
  const { dataset, textContent } = $(`figure-${place}`);
  if (dataset.kind === "png") return `data:image/png;base64,${textContent}`;
  const bytes = Uint8Array.from(atob(textContent), (character) => character.charCodeAt(0));
  const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return `data:image/svg+xml,${encodeURIComponent(await new Response(unpacked).text())}`;
}

const reasons = new Grid("exclusions-table", (sort) => { reasons.order(sort); });

function renderExclusions() {
  const all = data("exclusions");
  const form = $("reasons");
  const status = [...new Set(all.map((e) => e.status))];
  options(form.status, [{ value: "", label: "all" }, ...status.map((s) => ({ value: s, label: s }))], form.status.value);
  const wanted = form.q.value.toLowerCase();
  const rows = all.filter((e) =>
    (!form.status.value || e.status === form.status.value) &&
    `${e.dataset} ${e.method} ${e.reason} ${e.what.flat().join(" ")}`.toLowerCase().includes(wanted),
  );
  const text = (id, label) => ({
    id,
    label,
    key: (e) => e[id] || null,
    cell: (e) => make("td", { class: id }, e[id] || MISSING),
  });
  const records = {
    id: "records",
    label: "Records",
    numeric: true,
    better: "higher",
    key: (e) => e.what.length,
    cell: (e) => {
      const button = opener(`${e.what.length} records: which`, String(e.what.length));
      return withCard(make("td", { class: "number" }, button), () => excluded(e));
    },
  };
  reasons.show({
    caption: "Why records are not shown",
    columns: [text("status", "Status"), text("dataset", "Dataset"), text("method", "Method"), records, text("reason", "Reason")],
    bodies: [{ rows }],
    sort: reasons.sort ?? "",
  });
  $("reasons-status").textContent = `${rows.length} of ${all.length} reasons`;
  form.hidden = reasons.table.parentElement.hidden = !all.length;
}

function excluded(exclusion) {
  const lines = exclusion.what.map(([what, run]) => make("li", {}, what, " ", make("code", {}, run)));
  const list = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Records" }, make("ul", {}, lines));
  return [make("h3", {}, exclusion.status), make("p", { id: "card-brief" }, exclusion.reason), list];
}

let group = null; // the place of the group on the screen

function render(view) {
  const content = data(`group-${view.group.place}`);
  for (const key of PICKERS) {
    const select = $("pickers")[key];
    options(select, view.options[key], view[key]);
    select.disabled = view.options[key].length < 2;
  }
  renderBoard(view, content);
  if (group !== view.group.place) {
    group = view.group.place;
    renderGroup(view, content);
  }
}

function start() {
  $("pickers").addEventListener("change", (event) => go({ [event.target.name]: event.target.value }, true));
  $("filters").addEventListener("input", (event) => go({ [event.target.name]: event.target.value }, false));
  $("reasons").addEventListener("input", renderExclusions);
  for (const form of document.forms) form.addEventListener("submit", (event) => event.preventDefault());
  $("skip").addEventListener("click", () => $("scroll").focus());
  const { counts, how, groups } = data("index");
  $("counts").textContent = `${counts}.`;
  $("how").replaceChildren(...how.map((text) => make("p", {}, rich(text))));
  document.querySelector("main").hidden = false;
  $("board").hidden = $("pictures").hidden = $("pickers").hidden = !groups.length;
  $("none").hidden = groups.length > 0;
  if (groups.length) {
    shown = location.hash;
    render(viewOf(address()));
  }
  renderExclusions();
}

start();
