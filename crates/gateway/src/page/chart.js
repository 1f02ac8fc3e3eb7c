// Lines over time, as SVG. A moment that is not known is a gap.

import { draw, make, mark, say } from "./dom.js";
import { lag, span } from "./words.js";

const WIDTH = 600;

/** The path of a series that ends at the right edge and would fill `slots` if it were complete. */
function path(values, slots, top, height) {
  const step = WIDTH / Math.max(1, slots - 1);
  const start = WIDTH - step * (values.length - 1);
  let text = "";
  let down = false;
  values.forEach((value, at) => {
    if (value === null) {
      down = false;
      return;
    }
    const x = (start + at * step).toFixed(1);
    const y = (height - 2 - (value / top) * (height - 4)).toFixed(1);
    // A lone sample is a line of no length, which round ends make a dot.
    text += down ? `L${x} ${y}` : `M${x} ${y}h0`;
    down = true;
  });
  return text;
}

/** How many samples the axis is wide: while there are few, a sixth of what it will be. */
const width = (values, most) => Math.min(most, Math.max(values.length, most / 6));

/** The next number that reads well on an axis. */
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 0.001)));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value - 1e-12) ?? value;
}

const highest = (values) => values.reduce((most, value) => Math.max(most, value ?? 0), 0);

const last = (values) => values.findLast((value) => value !== null) ?? null;

function summary(values, seconds) {
  if (last(values) === null) return `Lag over the last ${span(seconds)}: not known`;
  return `Lag over the last ${span(seconds)}: ${lag(values.at(-1)) === "–" ? "not known" : lag(values.at(-1))} now, ${lag(highest(values))} at most`;
}

/** A line of a row, without axes. */
export function spark() {
  const line = draw("path", { class: "line" });
  const node = draw(
    "svg",
    { class: "spark", viewBox: `0 0 ${WIDTH} 40`, preserveAspectRatio: "none", role: "img" },
    line,
  );
  return {
    node,
    update(values, slots, secondsEach) {
      const wide = width(values, slots);
      mark(line, "d", path(values, wide, Math.max(highest(values), 0.05), 40));
      mark(node, "aria-label", summary(values, wide * secondsEach));
    },
  };
}

/** A chart with axes that tells the value under the pointer. */
export function chart() {
  const line = draw("path", { class: "line" });
  const cursor = draw("path", { class: "cursor" });
  const grid = draw("path", { class: "grid", d: `M0 2H${WIDTH}M0 70H${WIDTH}M0 138H${WIDTH}` });
  const plot = draw(
    "svg",
    { viewBox: `0 0 ${WIDTH} 140`, preserveAspectRatio: "none", role: "img" },
    grid,
    line,
    cursor,
  );
  const top = make("span", { class: "top" });
  const half = make("span", { class: "half" });
  const since = make("span");
  const read = make("span", { class: "read" });
  const node = make(
    "div",
    { class: "chart" },
    make("div", { class: "scale", "aria-hidden": "true" }, top, half, make("span", {}, "0")),
    plot,
    make("div", { class: "times", "aria-hidden": "true" }, since, read, make("span", {}, "now")),
  );
  let shown = null;
  const point = (event) => {
    if (!shown) return;
    const { values, slots, secondsEach } = shown;
    const box = plot.getBoundingClientRect();
    const ago = Math.round((1 - (event.clientX - box.left) / box.width) * (slots - 1));
    const value = values[values.length - 1 - ago];
    const x = (WIDTH * (1 - ago / (slots - 1))).toFixed(1);
    mark(cursor, "d", `M${x} 0V140`);
    say(read, `${span(ago * secondsEach)} ago: ${value === undefined || value === null ? "not known" : lag(value)}`);
  };
  plot.addEventListener("pointermove", point);
  plot.addEventListener("pointerleave", () => {
    mark(cursor, "d", null);
    say(read, "");
  });
  return {
    node,
    update(history) {
      const values = history.lag_seconds;
      const slots = width(values, history.samples);
      const secondsEach = history.every_seconds;
      shown = { values, slots, secondsEach };
      const most = ceiling(Math.max(highest(values), 0.01));
      say(top, lag(most));
      say(half, lag(most / 2));
      say(since, `${span(slots * secondsEach).replace(" 0 s", "")} ago`);
      mark(line, "d", path(values, slots, most, 140));
      mark(plot, "aria-label", summary(values, slots * secondsEach));
    },
    worst: (history) => (last(history.lag_seconds) === null ? null : highest(history.lag_seconds)),
  };
}
