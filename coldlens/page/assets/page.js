// The sections: each draws itself at a layer from the tables in the page.

const data = JSON.parse(byId("data").textContent);
const slider = byId("layer");
const drawn = [];
let layer = data.layers[Math.floor(data.layers.length / 2)];

function choose(wanted) {
  layer = wanted;
  const place = data.layers.indexOf(layer);
  slider.value = place;
  slider.setAttribute("aria-valuetext", `layer ${layer}`);
  byId("layer-name").textContent = layer;
  document.querySelectorAll(".layer").forEach((node) => { node.textContent = layer; });
  drawn.forEach((draw) => draw());
}

const byLayer = (more) => ({ xLabel: "layer (0-based block)", marked: layer, pick: choose, ...more });
const here = (rows) => rows.filter((row) => row.layer === layer);

function lines(rows, looks, name, value, range = []) {
  return distinct(rows.map((row) => row[name])).map((key) => ({
    name: String(key).replaceAll("_", " "),
    look: looks[key],
    points: rows.filter((row) => row[name] === key).map((row) => (
      { x: row.layer, y: row[value], low: row[range[0]], high: row[range[1]] })),
  })).filter((one) => one.points.some((point) => typeof point.y === "number"));
}

const FIGURES = [
  ["cosine_to_ColdJVP", "cosine to the exact displacement"],
  ["prompt_cosine_to_ColdJVP", "the same, prompt by prompt"],
  ["cosine_to_DiffMean", "cosine to DiffMean"],
  ["relative_norm", "length over that of the residual stream"],
  ["norm", "length"],
  ["coherence", "coherence of what is averaged"],
];

function directions({ tables, looks }) {
  const rows = rowsOf(tables.directions);
  const cosines = rowsOf(tables.cosines);
  const tokens = rowsOf(tables.tokens);
  const methods = Object.keys(looks);
  const [figure, method] = [byId("directions-figure"), byId("tokens-method")];
  setOptions(figure, FIGURES);
  setOptions(method, methods.map((name) => [name, name]));
  if (methods.includes("ColdJVP")) method.value = "ColdJVP";

  const drawFigure = () => lineChart(byId("directions-chart"),
    lines(rows, looks, "method", figure.value), byLayer({
      label: figure.selectedOptions[0].text,
      log: figure.value.endsWith("norm"),
      whole: figure.value.includes("cosine") ? 1 : 0,
    }));

  const drawMatrix = () => {
    const found = new Map(here(cosines).map((row) => [`${row.method}\n${row.other}`, row.cosine]));
    const cell = (one, other) => {
      const value = found.get(`${one}\n${other}`);
      const node = html("td", { "data-value": value, title: `${one}, ${other}` },
        typeof value === "number" ? fixed(value, 2) : "–");
      tint(node, value);
      return node;
    };
    byId("directions-cosines").replaceChildren(found.size === 0 ? "" : html("table",
      { class: "matrix" },
      html("thead", {}, html("tr", {}, html("td"),
        ...methods.map((name) => html("th", { scope: "col" }, html("span", {}, name))))),
      html("tbody", {}, ...methods.map((one) => html("tr", {},
        html("th", { scope: "row" }, one), ...methods.map((other) => cell(one, other)))))));
  };

  const drawTokens = () => {
    const own = here(tokens).filter((row) => row.method === method.value && row.rank <= 10);
    const largest = Math.max(...own.map((row) => Math.abs(row.score)));
    const list = (sign, title) => html("div", {}, html("h4", {}, title), html("ol", {},
      ...own.filter((row) => row.sign === sign).map((row) => {
        const bar = html("span", { class: "token", "data-value": row.score }, visible(row.token));
        tint(bar, row.score / largest);
        return html("li", {}, bar, html("span", { class: "score" }, ` ${number(row.score)}`));
      })));
    byId("tokens-lists").replaceChildren(list(1, "Promoted"), list(-1, "Suppressed"));
  };

  figure.addEventListener("change", drawFigure);
  method.addEventListener("change", drawTokens);
  drawn.push(drawFigure, drawMatrix, drawTokens, () => showTable(byId("directions-table"),
    here(rows), Object.keys(tables.directions).filter((name) => name !== "layer")));
}

function kernel({ tables, looks, examples, queries, near }) {
  const shares = rowsOf(tables.shares);
  const pairs = rowsOf(tables.block_quantiles)
    .map((row) => ({ ...row, same: row.same_prompt ? "a prompt with itself" : "two prompts" }));
  const plain = (color, dash = "") => ({ color, dash, width: 2, opacity: 1 });
  drawn.push(
    () => lineChart(byId("kernel-ladder"),
      lines(rowsOf(tables.ladder_means), looks, "rung", "mean", ["min", "max"]),
      byLayer({ label: "cosine to the exact displacement", whole: 1 })),
    () => lineChart(byId("kernel-blocks"),
      lines(pairs, { "two prompts": plain("var(--for)"),
        "a prompt with itself": plain("var(--against)", "7 4") },
      "same", "median", ["low", "high"]),
      byLayer({ label: "cosine of K and I", whole: 1 })),
    () => showTable(byId("kernel-table"), rowsOf(tables.by_layer), Object.keys(tables.by_layer)),
    () => lineChart(byId("kernel-positions"), [{
      name: "share", look: plain("var(--for)"),
      points: here(rowsOf(tables.shares_by_position))
        .map((row) => ({ x: row.position, y: row.share })),
    }], {
      label: "share of the displacement", xLabel: "token", marked: 0,
      xName: (token) => token < -near ? "before" : token > near ? "after" : String(token),
    }),
    drawTokens);

  const chosen = byId("kernel-example");
  const opening = (words) => words.map(visible).join(" ").slice(0, 70);
  setOptions(chosen, examples.map(([prompt], place) => [place, `${place}: ${opening(prompt)}…`]));
  chosen.addEventListener("change", drawTokens);

  function drawTokens() {
    const [prompt, positive, negative] = examples[chosen.value];
    const own = here(shares).filter((row) => row.example === Number(chosen.value));
    const found = new Map(own.map((row) => [`${row.side} ${row.position}`, row.share]));
    const largest = Math.max(...own.map((row) => Math.abs(row.share)));
    const side = (words, name, first) => words.map((word, place) => {
      const position = first + place;
      const share = found.get(`${name} ${position}`);
      const read = name === "prompt" && position === 0;
      const node = html("button", {
        type: "button", tabindex: "-1", "data-value": share,
        class: `token ${name === "prompt" ? "" : "answer"} ${read ? "read" : ""}`,
      }, visible(word));
      if (share !== undefined) tint(node, share / largest);
      const told = () => { byId("kernel-token").textContent = tell(word, name, position, share); };
      node.addEventListener("pointerenter", told);
      node.addEventListener("focus", told);
      return node;
    });
    const line = (title, nodes) => html("p", { class: "tokens" }, html("b", {}, title), ...nodes);
    const host = byId("kernel-tokens");
    host.replaceChildren(line("Prompt", side(prompt, "prompt", 1 - prompt.length)),
      line("Positive", side(positive, "positive", 1)),
      ...(negative ? [line("Negative", side(negative, "negative", 1))] : []));
    const nodes = [...host.querySelectorAll("button")];
    nodes[prompt.length - 1].tabIndex = 0;
    nodes.forEach((node, place) => node.addEventListener("keydown", (event) => {
      const next = nodes[place + { ArrowRight: 1, ArrowLeft: -1 }[event.key]];
      if (!next) return;
      node.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    }));
    const all = own.reduce((sum, row) => sum + row.share, 0);
    byId("kernel-token").textContent = own.length === 0 ? "Nothing was computed at this layer."
      : `This example as a whole: ${percent(all)} of the displacement at layer ${layer}.`;
  }

  function tell(word, side, position, share) {
    const place = side !== "prompt" ? `token ${position} of the ${side} completion`
      : position === 0 ? "last token of the prompt, which COLD-Kernel reads"
      : `${-position} before the end of the prompt`;
    const steered = side === "prompt" ? " Steering at “prompt” changes it."
      : " Steering at “generated” changes it.";
    const read = share === undefined ? "the losses do not read it"
      : `${percent(share)} of the displacement at layer ${layer}, mean of ${queries} queries`;
    return `“${visible(word)}”, ${place}: ${read}.${steered}`;
  }
}

function checks({ tables }) {
  const rows = rowsOf(tables.every_check);
  showTable(byId("checks-table"), rowsOf(tables.checks), Object.keys(tables.checks));
  drawn.push(() => showTable(byId("checks-rows"),
    rows.filter((row) => row.layer === layer || row.layer === null),
    Object.keys(tables.every_check)));
}

function steering({ tables, looks }) {
  const rows = rowsOf(tables.steering);
  const [measurement, group] = [byId("steering-measurement"), byId("steering-group")];
  for (const [select, name] of [[measurement, "measurement"], [group, "group"]]) {
    setOptions(select, distinct(rows.map((row) => row[name])).map((one) => [one, one]));
    select.addEventListener("change", () => draw());
  }
  const columns = Object.keys(tables.steering)
    .filter((name) => !["layer", "measurement", "group"].includes(name));
  const draw = () => {
    const own = rows.filter((row) => row.measurement === measurement.value
      && row.group === group.value);
    lineChart(byId("steering-chart"),
      lines(own, looks, "method", "change", ["change_low", "change_high"]),
      byLayer({ label: `change of ${measurement.value}` }));
    showTable(byId("steering-table"), here(own), columns);
  };
  drawn.push(draw);
}

function files(host) {
  const tables = Object.entries(data[host.dataset.section].tables);
  host.append("Tables as CSV: ", ...tables.flatMap(([name, table]) => {
    const button = html("button", { type: "button", "data-table": name }, `${name}.csv`);
    button.addEventListener("click", () => {
      const url = URL.createObjectURL(new Blob([csv(table)], { type: "text/csv" }));
      html("a", { href: url, download: `${name}.csv` }).click();
      setTimeout(() => URL.revokeObjectURL(url), 1000);
    });
    return [button, " "];
  }));
}

for (const section of [directions, kernel, checks, steering]) {
  if (data[section.name]) section(data[section.name]);
}
document.querySelectorAll(".files").forEach(files);
slider.addEventListener("input", () => choose(data.layers[slider.value]));
let width = window.innerWidth;
window.addEventListener("resize", () => {
  if (window.innerWidth !== width) choose(layer);
  width = window.innerWidth;
});
choose(layer);
