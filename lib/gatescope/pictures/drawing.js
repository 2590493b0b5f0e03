// What every part of the scrubber draws and builds with: colours, lines, axes, words and figures.

const LINES = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7"]; // Okabe and Ito; pink last, green's twin to many
const LAST_LEVEL = 255;
const INSET = { left: 46, right: 6, top: 5, bottom: 13 }; // px of a chart around its curves, as in scrubber.css

/** The colour of each of the 256 levels of a plane, as matplotlib would choose it between `low` and `high`. */
function coloursOf(plane, low, high, lookup) {
  const colours = new Uint8ClampedArray(4 * 256);
  for (let level = 0; level < 256; level++) {
    const part = high > low ? (valueOf(plane, level) - low) / (high - low) : 0;
    const from = 3 * Math.min(Math.max(Math.floor(part * 256), 0), LAST_LEVEL);
    colours.set([lookup[from], lookup[from + 1], lookup[from + 2], 255], 4 * level);
  }
  return new Uint32Array(colours.buffer);
}

function valueOf({ low, high }, level) {
  return low + ((high - low) * level) / LAST_LEVEL;
}

/** As far to either side of 0 as the farther end. */
function symmetric([low, high]) {
  const far = Math.max(Math.abs(low), Math.abs(high));
  return [-far, far];
}

/** Return the line between the pixels of a mask, as `inside` tells them, and those outside it. */
function outlineOf(inside, width, height) {
  const lines = [];
  // Straight stretches as one piece each: many short ones take longer to draw.
  const stretches = (length, differs, add) => {
    for (let at = 0, from = null; at <= length; at++) {
      const isEdge = at < length && differs(at);
      if (isEdge) from ??= at;
      else if (from !== null) (add(from, at - from), (from = null));
    }
  };
  for (let y = 0; y <= height; y++) {
    const differs = (x) => inside(x, y) !== inside(x, y - 1);
    stretches(width, differs, (x, length) => lines.push(`M${x} ${y}h${length}`));
  }
  for (let x = 0; x <= width; x++) {
    const differs = (y) => inside(x, y) !== inside(x - 1, y);
    stretches(height, differs, (y, length) => lines.push(`M${x} ${y}v${length}`));
  }
  return new Path2D(lines.join(""));
}

/** Draw white on black, visible on every colour. */
function strokeTwice(context, path, width) {
  for (const [colour, times] of [["#000a", 3], ["#fff", 1.25]]) {
    context.strokeStyle = colour;
    context.lineWidth = times * width;
    context.stroke(path);
  }
}

/** The context of a canvas that fills a box of the screen; null where the box has no size. */
function sized(canvas, box) {
  const [width, height] = [box?.width ?? 0, box?.height ?? 0].map((length) => Math.round(length * devicePixelRatio));
  if (!width || !height) return null;
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  return canvas.getContext("2d");
}

/**
 * Clear a chart's canvas and draw its axes with numbers; return what places a step and a value on it.
 * `values` are the numbered values of the y axis.
 */
function drawAxes(context, [low, high], values, steps, ink) {
  const unit = devicePixelRatio;
  const [left, top] = [INSET.left * unit, INSET.top * unit];
  const [wide, tall] = [context.canvas.width - left - INSET.right * unit, context.canvas.height - top - INSET.bottom * unit];
  const x = (step) => left + ((step + 0.5) * wide) / steps;
  const y = (value) => top + (high > low ? (high - value) / (high - low) : 0.5) * tall;
  context.clearRect(0, 0, context.canvas.width, context.canvas.height);
  context.fillStyle = context.strokeStyle = ink;
  context.font = `${9 * unit}px system-ui, sans-serif`;
  context.lineWidth = unit / 2;
  context.globalAlpha = 0.35;
  context.stroke(new Path2D(values.map((value) => `M${left} ${y(value)}h${wide}`).join("")));
  context.globalAlpha = 0.85;
  context.textBaseline = "middle";
  context.textAlign = "right";
  for (const value of values) context.fillText(short(value, high - low), left - 4 * unit, y(value));
  context.textBaseline = "alphabetic";
  context.textAlign = "center";
  const every = Math.max(1, Math.ceil(steps / Math.max(1, Math.floor(wide / (30 * unit)))));
  for (let step = 0; step < steps; step += every) context.fillText(step + 1, x(step), context.canvas.height - 2 * unit);
  context.globalAlpha = 1;
  return { x, y, unit, left, top, wide, tall };
}

/** A line through a value for every step. */
function lineOf({ x, y }, values) {
  return new Path2D(`M${Array.from(values, (value, step) => `${x(step)} ${y(value)}`).join("L")}`);
}

/** Set the step from the pointer while it is held down. */
function scrubBy(view, node) {
  const follow = (event) => {
    const box = node.getBoundingClientRect();
    view.goTo(Math.floor(((event.clientX - box.left) / box.width) * view.header.steps));
  };
  node.addEventListener("pointerdown", (event) => {
    node.setPointerCapture(event.pointerId);
    follow(event);
  });
  node.addEventListener("pointermove", (event) => event.buttons && follow(event));
}

/** Return a stack of canvases; a click gives it the keys that step through the clip. */
function stackOf(tabindex = -1) {
  return element("div", { class: "stack", role: "img", tabindex });
}

function figureOf({ name, title, unit, help }, kind = "panel") {
  const figure = element("figure", { class: kind, "data-name": name });
  const caption = element("figcaption", { title: [help, unit && `Values: ${unit}.`, name].filter(Boolean).join(" ") });
  caption.append(element("span", { class: "caption", "data-text": "" }, title));
  figure.append(caption);
  return figure;
}

function labelled(words, input, help) {
  const label = element("label", { title: help });
  label.append(element("span", {}, words), input);
  return label;
}

function buttonOf(words, help, act) {
  const button = element("button", { type: "button", title: help }, words);
  button.addEventListener("click", act);
  return button;
}

function select(names, chosen) {
  const node = element("select", {});
  node.append(...names.map((name) => (Array.isArray(name) ? new Option(name[1], name[0]) : new Option(name, name))));
  node.value = chosen;
  return node;
}

/** Format a value to a thousandth of its range, or another power of ten, with a true minus. */
function number(value, range, places = 3) {
  const digits = range > 0 ? Math.min(Math.max(places - Math.floor(Math.log10(range)), 0), 20) : null;
  return String(Number(digits === null ? value.toPrecision(3) : value.toFixed(digits))).replace("-", "\u2212");
}

/** Format a value for the narrow space beside an axis. */
function short(value, range) {
  const words = number(value, range, 2);
  return words.length > 7 ? value.toExponential(1).replace("e+", "e").replaceAll("-", "\u2212") : words;
}

const within = (value, low, high) => Math.min(Math.max(value, low), high);
