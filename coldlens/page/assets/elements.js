"use strict";
// Elements, numbers and tables. Text from the data becomes text nodes only, never markup.

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const html = (name, attributes = {}, ...children) =>
  fill(document.createElement(name), attributes, children);

const svg = (name, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

const byId = (id) => document.getElementById(id);

const withMinus = (text) => text.replaceAll("-", "−");

// Fixed decimals, without the sign of a number that is rounded to zero.
const fixed = (value, digits) => withMinus(value.toFixed(digits).replace(/^-(?=[0.]*$)/, ""));

function number(value) {
  if (value === null) return "–";
  if (typeof value !== "number") return String(value);
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size < 1e-3 || size >= 1e5) return withMinus(value.toExponential(2));
  if (size < 1e-2) return withMinus(value.toPrecision(2));
  return fixed(value, size >= 100 ? 0 : size >= 10 ? 1 : 3);
}

const percent = (share) => `${fixed(100 * share, 1)} %`;

// A token with its white space visible; one without any text is shown as quotes.
const visible = (token) =>
  token === "" ? "“”" : token.replaceAll("\n", "⏎").replaceAll("\t", "⇥").replace(/^ +| +$/g,
    (spaces) => "␣".repeat(spaces.length));

// The rows of a table that is stored by column.
function rowsOf(table) {
  const names = Object.keys(table);
  return table[names[0]].map((_, row) =>
    Object.fromEntries(names.map((name) => [name, table[name][row]])));
}

const distinct = (values) => [...new Set(values)];

// A table of some columns; each number carries its exact value in data-value.
function showTable(host, rows, columns) {
  const known = (name) => rows.map((row) => row[name]).filter((value) => value !== null);
  const all = (test) => new Set(columns.filter((name) => known(name).every(test)));
  const [numbers, counts] = [all((value) => typeof value === "number"), all(Number.isInteger)];
  const kind = (name) => ({ class: numbers.has(name) ? "number" : "text" });
  const cell = (row, name) => html("td", { "data-value": row[name], ...kind(name) },
    row[name] !== null && counts.has(name) ? fixed(row[name], 0) : number(row[name]));
  host.replaceChildren(rows.length === 0 ? html("p", {}, "Nothing was computed at this layer.")
    : html("table", {},
      html("thead", {}, html("tr", {},
        ...columns.map((name) =>
          html("th", { scope: "col", ...kind(name) }, name.replaceAll("_", " "))))),
      html("tbody", {}, ...rows.map((row) =>
        html("tr", {}, ...columns.map((name) => cell(row, name)))))));
}

function setOptions(select, options) {
  select.replaceChildren(...options.map(([value, text]) => html("option", { value }, text)));
}

// Blue for positive, orange for negative, light enough to be read on.
function tint(node, value) {
  const share = Math.round(55 * Math.min(1, Math.abs(value ?? 0)));
  const color = value < 0 ? "var(--against)" : "var(--for)";
  node.style.backgroundColor = `color-mix(in srgb, ${color} ${share}%, transparent)`;
}

// A table as CSV, with Python's words for truth values.
function csv(table) {
  const text = (value) => {
    const written = value === null ? "" : value === true ? "True" : value === false ? "False"
      : String(value);
    return /[",\r\n]/.test(written) ? `"${written.replaceAll('"', '""')}"` : written;
  };
  const names = Object.keys(table);
  const lines = rowsOf(table).map((row) => names.map((name) => text(row[name])).join(","));
  return `${[names.map(text).join(","), ...lines].join("\n")}\n`;
}
