// The pictures of a group: maps with their colour bars and curves, gates of one value a channel, and class scores.

/** The clip's frame, or a map over it, with what is drawn on top, a colour bar, the value pointed at and the curves. */
class Panel {
  constructor(view, group, spec) {
    Object.assign(this, { view, group, spec });
    const { width, height } = view.header;
    const { rows = height, columns = width } = spec;
    this.frame = element("canvas", { class: "frame", width, height });
    this.map = element("canvas", { class: "map", width: columns, height: rows });
    this.marks = element("canvas", { class: "marks" });
    const counted = `at (row, column) of the ${group ? "map" : "frame"}, from (0, 0) in the upper left corner`;
    this.value = element("output", { class: "value", title: counted });
    this.here = element("span", { class: "here", "data-text": "" });
    this.stack = stackOf(0);
    this.stack.style.aspectRatio = `${width} / ${height}`;
    this.stack.append(this.frame, ...(group ? [this.map] : []), this.marks);
    view.watch(this.stack);
    pinBy(view, this.stack, rows, columns);
    this.node = figureOf(spec);
    this.node.firstChild.append(enlarger(this.node, spec.title));
    this.node.append(this.stack);
    if (group) {
      this.bar = new ColourBar();
      this.chart = new Chart(view);
      this.node.append(this.bar.node, this.value, this.chart.node);
      this.pixels = new ImageData(columns, rows);
      this.words = new Uint32Array(this.pixels.data.buffer);
    } else {
      this.node.append(this.value);
    }
  }

  /** The plane shown: of the chosen channel, or the mean or maximum of all. */
  plane() {
    const { planes, reduced } = this.spec;
    if (!reduced.length) return planes[0];
    const found = reduced.find(([name]) => name === this.view.shown);
    return found ? found[1] : this.planeOf(this.group.channel) ?? planes[0];
  }

  planeOf(channel) {
    return this.spec.planes[this.group.spec.channels.indexOf(channel)];
  }

  /** The levels of this step. */
  levels(plane) {
    const size = this.spec.rows * this.spec.columns;
    const from = plane.bytes ?? this.view.bytes;
    return from.subarray(plane.offset + this.view.step * size, plane.offset + (this.view.step + 1) * size);
  }

  /** The values of a plane at a place, one for each step. */
  valuesAt(plane, x, y) {
    const { rows, columns } = this.spec;
    const from = plane.bytes ?? this.view.bytes;
    const first = plane.offset + cellAt(y, rows) * columns + cellAt(x, columns);
    return Array.from({ length: this.view.header.steps }, (_, step) => valueOf(plane, from[first + step * rows * columns]));
  }

  /** Lowest and highest value of the colours; symmetric about 0 for signed quantities. */
  limits(plane, how = this.view.limits) {
    if (how === "natural" && this.spec.range) return this.spec.range;
    let { low, high } = plane;
    if (how === "quantity") {
      for (const { spec } of this.view.panels) {
        if (spec.title !== this.spec.title) continue;
        for (const each of spec.planes) [low, high] = [Math.min(low, each.low), Math.max(high, each.high)];
      }
    } else if (how === "step") {
      let [least, most] = [LAST_LEVEL, 0];
      for (const level of this.levels(plane)) [least, most] = [Math.min(least, level), Math.max(most, level)];
      [low, high] = [valueOf(plane, least), valueOf(plane, most)];
    }
    return this.spec.signed ? symmetric([low, high]) : [low, high];
  }

  /** Take a channel's plane from bytes that begin at `place`; return where the next panel's begins. */
  take(bytes, place) {
    const { rows, columns, planes, reduced } = this.spec;
    const [low, high] = new Float32Array(bytes.slice(place, place + 8).buffer);
    const size = this.view.header.steps * rows * columns;
    if (reduced.length) planes.push({ bytes: bytes.slice(place + 8, place + 8 + size), offset: 0, low, high });
    return place + 8 + size;
  }

  draw() {
    const { view, spec, group } = this;
    if (view.frames.length && (!group || view.opacity < 1)) {
      this.frame.getContext("2d").drawImage(view.frames[view.step], 0, 0, this.frame.width, this.frame.height);
    }
    const plane = group && this.plane();
    if (group) this.#drawMap(plane);
    this.#drawMarks();
    if (!group) return;
    const limits = view.limits === "step" ? this.limits(plane, "channel") : this.limits(plane);
    this.chart.draw((x, y) => this.valuesAt(plane, x, y), limits, `${plane.offset},${plane.low},${plane.high}`);
  }

  /** The channel in words. */
  which() {
    if (!this.spec.reduced.length) return "one map";
    return this.view.shown === "channel" ? `channel ${this.group.channel}` : `${this.view.shown} of channels`;
  }

  #drawMap(plane) {
    const levels = this.levels(plane);
    const [low, high] = this.limits(plane);
    const lookup = this.view.lookup(this.spec.signed);
    const key = [plane.offset, plane.low, plane.high, low, high, lookup.byteOffset].join();
    if (key !== this.key) {
      this.key = key;
      this.colours = coloursOf(plane, low, high, lookup);
      this.bar.show(lookup, low, high, this.spec.unit, this.view.limits === "step");
    }
    for (let place = 0; place < levels.length; place++) this.words[place] = this.colours[levels[place]];
    this.map.getContext("2d").putImageData(this.pixels, 0, 0);
    this.map.style.opacity = this.view.opacity;
  }

  #drawMarks() {
    const { view } = this;
    const box = view.sizes.get(this.stack);
    const hand = view.hand();
    const key = [hand && view.step, view.pins.version, view.pointer, box?.width, box?.height].join();
    if (key === this.marked) return;
    const context = sized(this.marks, box);
    if (!context) return;
    this.marked = key;
    // Pixels are shown as they are where they are enlarged, and blended where several fall on one of the screen's.
    this.stack.classList.toggle("shrunk", box.width * devicePixelRatio < this.frame.width);
    const { width, height } = view.header;
    const [wide, high] = [this.marks.width, this.marks.height];
    context.clearRect(0, 0, wide, high);
    // Panels of one size have the same marks: a copy takes less time than lines.
    const shared = [hand && view.step, view.pins.version, view.pointer, wide, high].join();
    const { canvas, shared: drawn } = view.marks ?? {};
    if (drawn === shared && canvas !== this.marks) return context.drawImage(canvas, 0, 0);
    view.marks = { shared, canvas: this.marks };
    if (hand) {
      context.save();
      context.scale(wide / width, high / height);
      strokeTwice(context, hand, (width / wide) * devicePixelRatio);
      context.restore();
    }
    view.pins.mark(context);
    if (view.pointer) {
      const [x, y] = [view.pointer[0] * wide, view.pointer[1] * high];
      strokeTwice(context, new Path2D(`M${x} 0V${high}M0 ${y}H${wide}`), devicePixelRatio * 0.5);
    }
  }

  say() {
    const { pointer, header, pins, step } = this.view;
    const { rows = header.height, columns = header.width, title } = this.spec;
    const plane = this.group && this.plane();
    const what = this.group ? `${title}, ${this.which()}` : "frame";
    this.stack.setAttribute("aria-label", `${what}, step ${step + 1} of ${header.steps}`);
    const at = (x, y) => {
      const level = this.levels(plane)[cellAt(y, rows) * columns + cellAt(x, columns)];
      return number(valueOf(plane, level), plane.high - plane.low);
    };
    const place = pointer && `(${cellAt(pointer[1], rows)}, ${cellAt(pointer[0], columns)})`;
    const here = !pointer ? "" : this.group ? `${at(...pointer)} at ${place}` : place;
    const pinned = this.group ? pins.all.map((pin) => `${pin.number}: ${at(pin.x, pin.y)}`) : [];
    // Pins keep their lines while a place is pointed at: nothing moves under the pointer.
    this.value.classList.toggle("pointing", pointer !== null);
    if (this.value.children.length !== 1 + pinned.length) {
      this.value.replaceChildren(this.here, ...pinned.map(() => element("span", { "data-text": "" })));
    }
    [here, ...pinned].forEach((words, place) => {
      const part = this.value.children[place];
      if (part.textContent !== words) part.textContent = words;
    });
  }
}

/** A gate with one value per channel: channels from top to bottom, steps from left to right. */
class Strip {
  constructor(view, group, spec) {
    Object.assign(this, { view, group, spec });
    const { steps } = view.header;
    this.map = element("canvas", { class: "map", width: steps, height: spec.channels });
    this.marks = element("canvas", { class: "marks" });
    this.stack = stackOf();
    this.stack.append(this.map, this.marks);
    view.watch(this.stack);
    this.value = element("output", { class: "value" });
    this.bar = new ColourBar();
    this.chart = new Chart(view);
    this.node = figureOf(spec, "strip");
    this.node.firstChild.append(enlarger(this.node, spec.title));
    this.node.append(this.stack, this.bar.node, this.value, this.chart.node);
    scrubBy(view, this.stack);
    this.stack.addEventListener("pointermove", (event) => {
      const box = this.stack.getBoundingClientRect();
      const channel = cellAt((event.clientY - box.top) / box.height, spec.channels);
      const step = cellAt((event.clientX - box.left) / box.width, steps);
      const value = number(this.values(channel)[step], spec.high - spec.low);
      this.value.value = `${value} in channel ${channel}, step ${step + 1}`;
    });
    this.stack.addEventListener("pointerleave", () => (this.value.value = ""));
  }

  /** The values of a channel, one for each step. */
  values(channel) {
    const { steps } = this.view.header;
    return Array.from(this.view.at(this.spec.offset + channel * steps, steps), (level) => valueOf(this.spec, level));
  }

  limits() {
    const { spec, view } = this;
    if (view.limits === "natural" && spec.range) return spec.range;
    return spec.signed ? symmetric([spec.low, spec.high]) : [spec.low, spec.high];
  }

  draw() {
    const { view, spec, group } = this;
    const { steps } = view.header;
    const [low, high] = this.limits();
    const lookup = view.lookup(spec.signed);
    const key = [lookup.byteOffset, low, high].join();
    if (this.key !== key) {
      this.key = key;
      const colours = coloursOf(spec, low, high, lookup);
      const pixels = new ImageData(steps, spec.channels);
      const words = new Uint32Array(pixels.data.buffer);
      view.at(spec.offset, words.length).forEach((level, place) => (words[place] = colours[level]));
      this.map.getContext("2d").putImageData(pixels, 0, 0);
      this.bar.show(lookup, low, high, spec.unit, false);
    }
    const isShown = spec.channels === group.spec.numChannels && view.shown === "channel";
    this.chart.node.hidden = !isShown;
    if (isShown) this.chart.draw(() => this.values(group.channel), [low, high], group.channel, true);
    const context = sized(this.marks, view.sizes.get(this.stack));
    if (!context) return;
    const [wide, tall] = [this.marks.width, this.marks.height];
    context.clearRect(0, 0, wide, tall);
    const cursor = new Path2D();
    cursor.rect((view.step * wide) / steps, 0, wide / steps, tall);
    if (isShown) {
      const y = ((group.channel + 0.5) * tall) / spec.channels;
      cursor.addPath(new Path2D(`M0 ${y}h${wide * 0.06}M${wide} ${y}h${-wide * 0.06}`));
    }
    strokeTwice(context, cursor, devicePixelRatio);
  }

  say() {
    const step = this.view.step + 1;
    this.stack.setAttribute("aria-label", `${this.spec.title}, every channel and step; step ${step} is marked`);
  }
}

/** The probabilities of the likeliest classes over the steps. */
class Curve {
  constructor(view, spec) {
    Object.assign(this, { view, spec });
    const { names, offset } = spec;
    const count = view.header.steps * names.length;
    this.values = new Float32Array(view.bytes.slice(offset, offset + 4 * count).buffer);
    this.canvas = element("canvas", {});
    this.cursor = cursorOf(view.header.steps);
    this.stack = stackOf();
    this.stack.classList.add("plot");
    this.stack.append(this.cursor);
    this.chart = element("div", { class: "chart" });
    this.chart.append(this.canvas, this.stack);
    view.watch(this.chart);
    this.node = figureOf(
      { name: "scores", title: "class score", unit: "probability", help: "Softmax of the scores after every step, 0 to 1." },
      "curve",
    );
    this.node.firstChild.append(element("span", { class: "unit", "data-text": "" }, "probability after each step"));
    // Of two networks' curves of one class, the first is dashed and lies above the second, in the same colour.
    this.looks = names.map((_, place) => (spec.pairs ? [LINES[place >> 1], place % 2 === 0] : [LINES[place], false]));
    this.list = element("ol", { class: "classes" });
    this.outputs = names.map((name, place) => {
      const line = element("li", {});
      const swatch = element("canvas", { class: "swatch", width: 18, height: 2 });
      const context = swatch.getContext("2d");
      const [colour, isDashed] = this.looks[place];
      context.fillStyle = colour;
      for (const [left, length] of isDashed ? [[0, 4], [7, 4], [14, 4]] : [[0, 18]]) context.fillRect(left, 0, length, 2);
      const value = element("output", { "data-text": "" });
      line.append(swatch, element("bdi", { "data-text": "" }, name), value);
      this.list.append(line);
      return value;
    });
    this.node.append(this.chart, this.list);
    scrubBy(view, this.stack);
  }

  draw() {
    const { view, values, spec } = this;
    const { steps } = view.header;
    const count = spec.names.length;
    moveCursor(this.cursor, view.step);
    const box = view.sizes.get(this.chart);
    const drawn = [box?.width, box?.height, view.ink].join();
    if (drawn === this.drawn) return;
    const context = sized(this.canvas, box);
    if (!context) return;
    this.drawn = drawn;
    const axes = drawAxes(context, [0, 1], [0, 0.5, 1], steps, view.ink);
    context.lineWidth = 2 * axes.unit;
    for (const dashes of [false, true]) {
      context.setLineDash(dashes ? [4 * axes.unit, 3 * axes.unit] : []);
      this.looks.forEach(([colour, isDashed], place) => {
        if (isDashed !== dashes) return;
        context.strokeStyle = colour;
        context.stroke(lineOf(axes, Array.from({ length: steps }, (_, step) => values[step * count + place])));
      });
    }
    context.setLineDash([]);
  }

  say() {
    const { view, values, spec } = this;
    const now = spec.names.map((_, place) => values[view.step * spec.names.length + place].toFixed(2));
    this.outputs.forEach((output, place) => {
      if (output.textContent !== now[place]) output.textContent = now[place];
    });
    const words = spec.names.map((name, place) => `${name} ${now[place]}`).join(", ");
    this.stack.setAttribute("aria-label", `class scores after step ${view.step + 1}: ${words}`);
  }
}

/** Colours from left to right with the values at its ends. */
class ColourBar {
  constructor() {
    this.canvas = element("canvas", { width: 256, height: 1 });
    this.low = element("span", { class: "low", "data-text": "" });
    this.unit = element("span", { class: "unit", "data-text": "" });
    this.high = element("span", { class: "high", "data-text": "" });
    this.node = element("div", { class: "colours" });
    const ends = element("div", { class: "ends" });
    ends.append(this.low, this.unit, this.high);
    this.node.append(this.canvas, ends);
  }

  show(lookup, low, high, unit, ofStep) {
    const pixels = new ImageData(256, 1);
    for (let level = 0; level < 256; level++) {
      pixels.data.set([...lookup.subarray(3 * level, 3 * level + 3), 255], 4 * level);
    }
    this.canvas.getContext("2d").putImageData(pixels, 0, 0);
    this.low.textContent = number(low, high - low);
    this.high.textContent = number(high, high - low);
    this.unit.textContent = ofStep ? "this step only" : unit;
    this.node.classList.toggle("of-step", ofStep);
  }
}

/** A button that shows a figure over the width of its row, and back. */
function enlarger(figure, title) {
  const button = buttonOf("⤢", "enlarge, and back", () => {
    const large = figure.classList.toggle("large");
    button.setAttribute("aria-pressed", large);
    if (large) figure.scrollIntoView({ block: "nearest" });
  });
  button.className = "enlarge";
  button.setAttribute("aria-label", `enlarge ${title}`);
  button.setAttribute("aria-pressed", false);
  return button;
}
