// A line chart as SVG: series of {name, look, points: [{x, y, low, high}]} with bars from low to
// high where they are known, a mark at the chosen layer, and a legend whose buttons hide and show a line.

const hiddenLines = new WeakMap();

function lineChart(host, series, options) {
  const hidden = hiddenLines.get(host) ?? new Set();
  hiddenLines.set(host, hidden);
  const shown = series.filter((one) => !hidden.has(one.name));
  const usable = (point) => typeof point.y === "number" && (!options.log || point.y > 0);
  const points = shown.flatMap((one) => one.points.filter(usable));
  const legend = html("div", { class: "legend" }, ...series.map((one) => {
    const button = html("button", { type: "button", "aria-pressed": String(!hidden.has(one.name)) },
      svg("svg", { width: 28, height: 10, "aria-hidden": "true" }, stroke(one.look, "M0 5H28")),
      one.name);
    button.addEventListener("click", () => {
      if (!hidden.delete(one.name)) hidden.add(one.name);
      const place = [...button.parentNode.children].indexOf(button);
      lineChart(host, series, options);
      host.querySelectorAll(".legend button")[place].focus();
    });
    return button;
  }));
  const picture = points.length ? draw(host, shown, points, usable, options)
    : html("p", {}, "Nothing to draw.");
  host.replaceChildren(picture, ...(series.length > 1 ? [legend] : []));
}

const stroke = (look, d) => svg("path", {
  d, fill: "none", stroke: look.color, "stroke-width": look.width,
  "stroke-dasharray": look.dash, "stroke-opacity": look.opacity,
});

function draw(host, series, points, usable, { label, xLabel, xName = String, log, whole, marked, pick }) {
  const width = Math.max(300, Math.min(900, host.clientWidth));
  const height = 330;
  const [left, right, top, bottom] = [62, 14, 12, 44];
  const xs = distinct(points.map((point) => point.x)).sort((a, b) => a - b);
  const ends = points.flatMap((point) => [point.y, point.low, point.high])
    .filter((y) => typeof y === "number" && (!log || y > 0));
  const ticks = log ? decades(ends) : steps(Math.min(0, ...ends), Math.max(whole ?? 0, ...ends));
  const scale = log ? Math.log10 : (value) => value;
  const [low, high] = [scale(ticks[0]), scale(ticks.at(-1))];
  const span = Math.max(1, xs.at(-1) - xs[0]);
  const x = (value) => left + 16 + ((value - xs[0]) / span) * (width - left - right - 32);
  const y = (value) => top + ((high - scale(value)) / (high - low)) * (height - top - bottom);
  const text = (attributes, words) => svg("text", attributes, words);

  const picture = svg("svg", {
    viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${label} by ${xLabel}`,
  });
  for (const tick of ticks) {
    picture.append(
      svg("path", { class: tick === 0 ? "zero" : "rule", d: `M${left} ${y(tick)}H${width - right}` }),
      text({ x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, shortNumber(tick)));
  }
  if (xs.includes(marked)) {
    picture.append(svg("path", { class: "marked", d: `M${x(marked)} ${top}V${height - bottom}` }));
  }
  const every = Math.ceil((xs.length * 42) / (width - left - right));
  xs.filter((_, place) => place % every === 0).forEach((value) => picture.append(
    text({ x: x(value), y: height - bottom + 17, "text-anchor": "middle" }, withMinus(xName(value)))));
  picture.append(
    text({ x: (left + width) / 2, y: height - 6, "text-anchor": "middle" }, xLabel),
    text({ transform: `translate(13 ${(height - bottom) / 2}) rotate(-90)`, "text-anchor": "middle" },
      label));

  const ranged = points.some((point) => typeof point.low === "number");
  series.forEach(({ name, look, points: own }, place) => {
    const known = own.filter(usable);
    const aside = ranged ? 5 * (place - (series.length - 1) / 2) : 0;
    const across = (point) => x(point.x) + aside;
    for (const point of known.filter((one) => typeof one.low === "number")) {
      picture.append(svg("path", {
        d: `M${across(point)} ${y(point.low)}V${y(point.high)}`,
        fill: "none", stroke: look.color, "stroke-opacity": 0.7,
      }));
    }
    picture.append(stroke(look, known.length
      ? `M${known.map((point) => `${across(point)} ${y(point.y)}`).join("L")}` : ""));
    for (const point of known) {
      const range = typeof point.low === "number"
        ? ` (${number(point.low)} to ${number(point.high)})` : "";
      picture.append(svg("circle", {
        cx: across(point), cy: y(point.y), r: 3.5, fill: look.color, "fill-opacity": look.opacity,
        "data-name": name, "data-x": point.x, "data-value": point.y,
      }, svg("title", {}, `${name} at ${xName(point.x)}: ${number(point.y)}${range}`)));
    }
  });
  if (pick) {
    picture.classList.add("pick");
    picture.addEventListener("click", (event) => {
      const place = (event.offsetX * width) / picture.clientWidth;
      pick(xs.reduce((best, value) =>
        Math.abs(x(value) - place) < Math.abs(x(best) - place) ? value : best));
    });
  }
  return picture;
}

function steps(low, high) {
  const raw = (high - low || 1) / 5;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw * 0.999);
  const first = Math.floor(low / step + 0.03);
  const last = Math.max(first + 1, Math.ceil(high / step - 0.03));
  return Array.from({ length: last - first + 1 }, (_, place) => (first + place) * step);
}

function decades(values) {
  const first = Math.floor(Math.log10(Math.min(...values)));
  const last = Math.max(first + 1, Math.ceil(Math.log10(Math.max(...values))));
  const every = Math.ceil((last - first) / 8);
  const ticks = [];
  for (let power = first; power < last + every; power += every) ticks.push(10 ** power);
  return ticks;
}

const shortNumber = (value) => {
  const size = Math.abs(value);
  const text = size !== 0 && (size < 1e-3 || size >= 1e5) ? value.toExponential(0)
    : String(Number(value.toPrecision(6)));
  return withMinus(text).replace("e+", "e");
};
