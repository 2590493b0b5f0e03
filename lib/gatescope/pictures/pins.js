// Pinned places: their marks on every map, their curves below it, and the list in which they are removed.

const MOST_PINS = LINES.length;
const TAP_PX = 6; // a pointer that moves no farther between down and up has clicked

/** Places, as parts of a picture's width and height from its upper left corner, each with a number from 1. */
class Pins {
  constructor(view) {
    this.view = view;
    this.all = [];
    this.version = 0; // counts changes, so that curves are drawn anew only then
    this.list = element("ol", { class: "places" });
    const counted = view.header.frames.length ? " Rows and columns are counted in the frame." : "";
    const hint = `Click, tap or press Enter on a map to pin a place; again to remove it.${counted}`;
    this.hint = element("p", { class: "hint" }, hint);
    this.node = element("section", { class: "pins", "aria-label": "pinned places" });
    this.node.append(this.list, this.hint);
  }

  get places() {
    return this.all.map(({ x, y }) => [x, y]);
  }

  /** Pin these places instead of the present ones. */
  set places(places) {
    this.all = places.slice(0, MOST_PINS).map(([x, y], place) => ({ number: place + 1, x, y }));
    this.#changed();
  }

  /** Pin the middle of the cell at a place of a map of these rows and columns, or remove the pin that is in it. */
  toggle([x, y], rows, columns) {
    const [column, row] = [cellAt(x, columns), cellAt(y, rows)];
    const here = this.all.find((pin) => cellAt(pin.x, columns) === column && cellAt(pin.y, rows) === row);
    if (here) return this.remove(here.number);
    const free = LINES.findIndex((_, place) => !this.all.some((pin) => pin.number === place + 1)) + 1;
    if (!free) return this.view.say(`${MOST_PINS} places are pinned; remove one to pin another.`);
    this.all.push({ number: free, x: (column + 0.5) / columns, y: (row + 0.5) / rows });
    this.#changed();
  }

  remove(number) {
    this.all = this.all.filter((pin) => pin.number !== number);
    this.#changed();
  }

  /** The place whose hand is shaded: the one under the pointer, else the one pinned last. */
  get focus() {
    const { pointer } = this.view;
    return pointer ? { x: pointer[0], y: pointer[1] } : this.all.at(-1);
  }

  #changed() {
    this.version += 1;
    const { width, height } = this.view.header;
    this.list.replaceChildren(
      ...this.all.map(({ number, x, y }) => {
        const line = element("li", {});
        const badge = element("span", { class: "badge", "data-text": "" }, String(number));
        badge.style.background = LINES[number - 1];
        badge.style.color = number === 1 ? "#fff" : "#000"; // on the darkest and on the others
        const words = `row ${cellAt(y, height)}, column ${cellAt(x, width)}`;
        const remove = buttonOf("×", "remove this pin", () => {
          this.remove(number);
          (this.list.querySelector("button") ?? this.view.timeline.slider).focus();
        });
        remove.setAttribute("aria-label", `remove pin ${number}`);
        line.append(badge, element("span", { "data-text": "" }, words), remove);
        return line;
      }),
    );
    this.view.request();
  }

  /** Draw a numbered ring at every pin, on a canvas over a whole picture. */
  mark(context) {
    const { width, height } = context.canvas;
    const unit = devicePixelRatio;
    for (const { number, x, y } of this.all) {
      const ring = new Path2D();
      ring.arc(x * width, y * height, 5 * unit, 0, 2 * Math.PI);
      for (const [colour, line] of [["#000", 5], ["#fff", 3.5], [LINES[number - 1], 2]]) {
        context.strokeStyle = colour;
        context.lineWidth = line * unit;
        context.stroke(ring);
      }
      // Beside the ring, and within the picture.
      const [left, top] = [x * width + (x > 0.85 ? -12 : 12) * unit, y * height + (y < 0.12 ? 9 : -8) * unit];
      context.font = `bold ${11 * unit}px system-ui, sans-serif`;
      context.textAlign = "center";
      context.textBaseline = "middle";
      context.strokeStyle = "#000";
      context.lineWidth = 3 * unit;
      context.strokeText(number, left, top);
      context.fillStyle = "#fff";
      context.fillText(number, left, top);
    }
  }
}

/** The curves of one quantity at the pinned places and the one pointed at, over the steps. */
class Chart {
  constructor(view) {
    this.view = view;
    this.canvas = element("canvas", {});
    this.cursor = cursorOf(view.header.steps);
    this.plot = element("div", { class: "plot" });
    this.plot.append(this.cursor);
    this.node = element("div", { class: "chart" });
    this.node.append(this.canvas, this.plot);
    view.watch(this.node);
    scrubBy(view, this.plot);
  }

  /**
   * `valuesAt(x, y)` are one for each step; `key` changes with what they are taken from. Where they are the same
   * at every place there is one curve.
   */
  draw(valuesAt, limits, key, everywhere = false) {
    const { view } = this;
    const { steps } = view.header;
    moveCursor(this.cursor, view.step);
    const box = view.sizes.get(this.node);
    const drawn = [view.pins.version, view.pointer, key, ...limits, box?.width, box?.height, view.ink].join();
    if (drawn === this.drawn) return;
    const context = sized(this.canvas, box);
    if (!context) return;
    this.drawn = drawn;
    const numbered = limits[0] < 0 && limits[1] > 0 ? [limits[0], 0, limits[1]] : limits;
    const axes = drawAxes(context, limits, numbered, steps, view.ink);
    const { unit } = axes;
    if (everywhere) {
      context.strokeStyle = view.ink;
      context.lineWidth = 1.5 * unit;
      context.stroke(lineOf(axes, valuesAt()));
      return;
    }
    this.#shadeHand(context, axes);
    for (const { number, x, y } of view.pins.all) {
      const values = valuesAt(x, y);
      context.strokeStyle = context.fillStyle = LINES[number - 1];
      context.lineWidth = 1.75 * unit;
      context.stroke(lineOf(axes, values));
      // Numbers stand apart along the curves, so that colour is not all that tells them.
      const step = Math.min(steps - 1, Math.round(((number - 0.5) * steps) / (MOST_PINS + 1)));
      context.beginPath();
      context.arc(axes.x(step), axes.y(values[step]), 5 * unit, 0, 2 * Math.PI);
      context.fill();
      context.fillStyle = number === 1 ? "#fff" : "#000";
      context.font = `bold ${8 * unit}px system-ui, sans-serif`;
      context.textAlign = "center";
      context.textBaseline = "middle";
      context.fillText(number, axes.x(step), axes.y(values[step]) + 0.5 * unit);
    }
    if (view.pointer) {
      context.strokeStyle = view.ink;
      context.lineWidth = 1.25 * unit;
      context.setLineDash([3 * unit, 2 * unit]);
      context.stroke(lineOf(axes, valuesAt(...view.pointer)));
      context.setLineDash([]);
    }
  }

  #shadeHand(context, { x, left, top, wide, tall }) {
    const { view } = this;
    const { focus } = view.pins;
    if (!focus || view.header.hand === null) return;
    const width = wide / view.header.steps;
    context.fillStyle = view.ink;
    context.globalAlpha = 0.16;
    for (let step = 0; step < view.header.steps; step++) {
      if (view.handCovers(step, focus.x, focus.y)) context.fillRect(x(step) - width / 2, top, width, tall);
    }
    context.globalAlpha = 1;
  }
}

/** A canvas of one pixel for each step, to be stretched over a chart: the browser lays nothing out anew for it. */
function cursorOf(steps) {
  return element("canvas", { class: "cursor", width: steps, height: 1 });
}

function moveCursor(cursor, step) {
  const context = cursor.getContext("2d");
  context.clearRect(0, 0, cursor.width, 1);
  context.fillStyle = "#d55e00";
  context.fillRect(step, 0, 1, 1);
}

/** The row or column at a part of a length. */
function cellAt(part, count) {
  return within(Math.floor(part * count), 0, count - 1);
}

/** Tell the view where in a picture the pointer is, and pin there by click, tap or Enter; Shift and arrows move. */
function pinBy(view, stack, rows, columns) {
  let down = null;
  const point = (event) => {
    const box = stack.getBoundingClientRect();
    const parts = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    view.point(parts.map((part) => within(part, 0, 1)));
  };
  stack.addEventListener("pointerdown", (event) => {
    down = [event.clientX, event.clientY];
    stack.setPointerCapture(event.pointerId);
    point(event);
  });
  stack.addEventListener("pointermove", point);
  stack.addEventListener("pointerup", (event) => {
    const moved = down === null || Math.hypot(event.clientX - down[0], event.clientY - down[1]) > TAP_PX;
    down = null;
    if (moved || event.button !== 0) return;
    point(event); // the map that had the keyboard until now has taken it back
    holdStill(stack, () => {
      view.pins.toggle(view.pointer, rows, columns);
      view.drawAll();
    });
  });
  for (const end of ["pointerleave", "pointercancel", "blur"]) stack.addEventListener(end, () => view.point(null));
  stack.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!(event.key === "Enter" || (event.shiftKey && move)) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    const [x, y] = view.pointer ?? view.pins.places.at(-1) ?? [0.5, 0.5];
    if (event.key === "Enter") return view.pins.toggle([x, y], rows, columns);
    const [right, below] = move;
    const middle = (part, by, count) => (cellAt(((cellAt(part, count) + by + 0.5) / count), count) + 0.5) / count;
    view.point([middle(x, right, columns), middle(y, below, rows)]);
  });
}

/** Change what may move a node, and scroll by as much, so that it stays below the pointer. */
function holdStill(node, change) {
  const topOf = () => node.getBoundingClientRect().top;
  const before = topOf();
  change();
  for (let each = node; each && Math.abs(topOf() - before) > 0.5; each = outwards(each)) each.scrollTop += topOf() - before;
}
