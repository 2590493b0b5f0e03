// A clip and a network's recording of it, step by step, on canvases: one module without dependencies.

const SPEEDS = [1, 2, 4, 8]; // steps per second
const LIMITS = ["channel, whole clip", "quantity, whole clip", "this step only"];
const SHOWN = [["channel", "one channel"], ["mean", "mean of channels"], ["max", "max of channels"]];
const LINES = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"]; // Okabe and Ito
const FRAME = { name: "frame", title: "frame", unit: "", help: "The clip as the network received it." };
const LAST_LEVEL = 255;

/** Decode the text of Packed.deflated: base64, deflate, sums of differences. */
export async function inflate(text) {
  const packed = Uint8Array.from(atob(text.trim()), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  for (let place = 1; place < bytes.length; place++) bytes[place] += bytes[place - 1];
  return bytes;
}

/**
 * Fill `root` with a scrubber. `onChannel(group, channel)`, where given, resolves to the bytes of a channel that
 * was not sent before: for every panel of the group lowest and highest value as float32, then a plane.
 */
export function mount(root, header, bytes, { css = "", onChannel = null } = {}) {
  const view = new View(root, header, bytes, css, onChannel);
  return view.ready.then(() => view);
}

/** Keep keys typed at a node from JupyterLab, which sees events below a shadow root at its host. */
export function keepKeys(node) {
  node.setAttribute("data-lm-suppress-shortcuts", "true");
}

/** Give a node JupyterLab's theme, else the reader's own; return a function that ends this. */
export function followTheme(node) {
  const follow = () => {
    const light = document.body.getAttribute("data-jp-theme-light");
    node.style.colorScheme = light === null ? "light dark" : light === "true" ? "light" : "dark";
  };
  const changes = new MutationObserver(follow);
  changes.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light"] });
  follow();
  return () => changes.disconnect();
}

class View {
  constructor(root, header, bytes, css, onChannel) {
    Object.assign(this, { root, header, bytes, onChannel });
    this.step = 0;
    this.shown = SHOWN[0][0];
    this.colours = header.colours[0][0];
    this.limits = LIMITS[0];
    this.opacity = 1;
    this.outline = header.hand !== null;
    this.smooth = false;
    this.pointer = null; // where in a picture, as parts of its width and height
    this.playing = null;
    this.speed = matchMedia("(prefers-reduced-motion: reduce)").matches ? SPEEDS[0] : SPEEDS[2];
    this.groups = header.groups.map((spec, place) => new Group(this, spec, place));
    this.panels = this.groups.flatMap((group) => [...group.frame, ...group.panels]);
    this.node = element("div", { class: "scrubber", role: "group", "aria-label": header.title || "scrubber" });
    this.node.append(...this.#heading(), this.#controls(), ...this.groups.map((group) => group.node));
    this.node.addEventListener("keydown", (event) => this.#key(event));
    root.replaceChildren(element("style", {}, css), this.node);
    this.sizes = new ResizeObserver(() => this.draw());
    this.sizes.observe(this.node);
    this.ready = this.#decode().then(() => this.draw());
  }

  /** Go to a step, from 0; beyond either end is that end. */
  setStep(step) {
    this.step = Math.min(Math.max(step, 0), this.header.steps - 1);
    this.slider.value = this.step;
    this.request();
  }

  play() {
    if (this.playing !== null) return;
    this.playing = setInterval(() => this.setStep((this.step + 1) % this.header.steps), 1000 / this.speed);
    this.#sayPlaying();
  }

  pause() {
    clearInterval(this.playing);
    this.playing = null;
    this.#sayPlaying();
  }

  /** Show another recording in the same place, at the same step and with the same choices where they still exist. */
  async replace(header, bytes) {
    this.pause();
    this.sizes.disconnect();
    const css = this.root.querySelector("style").textContent;
    const next = await mount(this.root, header, bytes, { css, onChannel: this.onChannel });
    for (const name of Object.keys(this.controls)) {
      if (name !== "outline" || this.header.hand !== null) next.choose(name, this[name]);
    }
    const key = ({ spec }) => spec.link || spec.title;
    for (const group of next.groups) group.follow(this.groups.find((each) => key(each) === key(group)));
    next.setStep(this.step);
    return next;
  }

  destroy() {
    this.pause();
    this.sizes.disconnect();
    this.root.replaceChildren();
  }

  /** Draw once before the browser shows the next picture, however often it is asked for. */
  request() {
    this.waiting ??= requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.waiting = undefined;
    if (!this.frames) return; // still being decoded
    for (const panel of this.panels) panel.draw();
    for (const group of this.groups) group.draw();
    const { framesPerStep, steps } = this.header;
    const last = (this.step + 1) * framesPerStep;
    const frames = framesPerStep > 1 ? `, frames ${last - framesPerStep + 1} to ${last}` : `, frame ${last}`;
    const words = `step ${this.step + 1} of ${steps}${this.frames.length ? frames : ""}`;
    if (this.readout.value !== words) this.readout.value = words;
    this.slider.setAttribute("aria-valuetext", words);
  }

  /** A plane of bytes as the header places it. */
  at(offset, length) {
    return this.bytes.subarray(offset, offset + length);
  }

  lookup(signed) {
    const colours = this.header.colours;
    const name = signed ? colours.at(-1)[0] : this.colours;
    return this.at(colours.find(([each]) => each === name)[1], 3 * 256);
  }

  /** Set the value of a control. */
  choose(name, value) {
    this[name] = name === "speed" ? Number(value) : value;
    if (name === "speed" && this.playing !== null) (this.pause(), this.play());
    const control = this.controls[name];
    if (control.type === "checkbox") control.checked = value;
    else control.value = value;
    this.node.classList.toggle("smooth", this.smooth);
    this.request();
  }

  /** Return the outline of the hand at this step; null where it is not known. */
  hand() {
    const { hand, width, height } = this.header;
    if (hand === null || !this.outline) return null;
    this.outlines ??= [];
    return (this.outlines[this.step] ??= outlineOf(this.bytes, 8 * hand + this.step * width * height, width, height));
  }

  async #decode() {
    const spans = this.header.frames;
    this.frames = await Promise.all(
      spans.map(([offset, length]) => createImageBitmap(new Blob([this.at(offset, length)], { type: "image/jpeg" }))),
    );
  }

  #heading() {
    const { title } = this.header;
    return title ? [element("p", { class: "title", "data-text": "" }, title)] : [];
  }

  #controls() {
    const { steps, colours, hand, frames } = this.header;
    this.slider = element("input", { type: "range", min: 0, max: steps - 1, value: 0, step: 1 });
    this.slider.addEventListener("input", () => this.setStep(this.slider.valueAsNumber));
    this.button = element("button", { type: "button", class: "play", title: "space or k" }, "Play");
    this.button.addEventListener("click", () => (this.playing === null ? this.play() : this.pause()));
    this.readout = element("output", { class: "readout", "aria-live": "polite", "data-text": "" });
    const save = element("button", { type: "button", title: "save the panels as a picture" }, "Save PNG");
    save.addEventListener("click", () => this.savePng());
    this.controls = {
      speed: select(SPEEDS.map(String), String(this.speed)),
      shown: select(SHOWN, this.shown),
      colours: select(colours.slice(0, -1).map(([name]) => name), this.colours),
      limits: select(LIMITS, this.limits),
      opacity: element("input", { type: "range", min: 0, max: 1, step: 0.05, value: 1 }),
      outline: element("input", { type: "checkbox" }),
      smooth: element("input", { type: "checkbox" }),
    };
    this.controls.outline.checked = this.outline;
    for (const [name, control] of Object.entries(this.controls)) {
      const value = { checkbox: "checked", range: "valueAsNumber" }[control.type] ?? "value";
      control.addEventListener("input", () => this.choose(name, control[value]));
    }
    const { speed, shown, colours: map, limits, opacity, outline, smooth } = this.controls;
    const time = element("div", { class: "bar" });
    time.append(
      this.button,
      labelled("time step", this.slider, "arrow keys, Home and End; , and . anywhere in the scrubber"),
      this.readout,
      labelled("speed", speed, "steps per second"),
    );
    const looks = element("div", { class: "bar" });
    looks.append(
      labelled("show", shown, "one channel of each quantity, or the mean or maximum of all channels"),
      labelled("colours", map, "colour map of unsigned quantities; signed ones are blue below 0 and red above"),
      labelled("limits", limits, "the values over which the ends of the colour bars are taken"),
      ...(frames.length
        ? [labelled("opacity over frame", opacity, "below 1 the frame shows through, and colours differ from the bar's")]
        : []),
      ...(hand === null ? [] : [labelled("hand outline", outline, "outline of the hand in the frame")]),
      labelled("smooth", smooth, "blend neighbouring positions"),
      save,
    );
    const bars = element("div", { class: "controls" });
    bars.append(time, looks);
    return bars;
  }

  #sayPlaying() {
    const playing = this.playing !== null;
    this.button.textContent = playing ? "Pause" : "Play";
    // A screen reader would read out every step.
    this.readout.setAttribute("aria-live", playing ? "off" : "polite");
  }

  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const own = event.target.matches("select, button, input[type=checkbox]");
    const slides = event.target.matches("input[type=range]");
    const { steps } = this.header;
    const actions = { ",": () => this.setStep(this.step - 1), ".": () => this.setStep(this.step + 1) };
    if (!own) Object.assign(actions, { " ": () => this.button.click(), k: () => this.button.click() });
    if (!own && !slides) {
      Object.assign(actions, { ArrowLeft: actions[","], ArrowRight: actions["."] });
      Object.assign(actions, { Home: () => this.setStep(0), End: () => this.setStep(steps - 1) });
    }
    if (!(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  }

  /** Save every canvas and text of the panels as a PNG file. */
  savePng() {
    const box = this.node.getBoundingClientRect();
    const scale = 2; // pixels of the file to one of the page
    const canvas = element("canvas", { width: scale * box.width, height: scale * box.height });
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    context.translate(-box.left, -box.top);
    context.fillStyle = getComputedStyle(this.node).backgroundColor;
    context.fillRect(box.left, box.top, box.width, box.height);
    for (const each of this.node.querySelectorAll("canvas, [data-text]")) {
      const { left, top, width, height } = each.getBoundingClientRect();
      const style = getComputedStyle(each);
      if (each.matches("canvas")) {
        context.globalAlpha = style.opacity;
        context.imageSmoothingEnabled = style.imageRendering !== "pixelated";
        if (width && height && each.width && each.height) context.drawImage(each, left, top, width, height);
        continue;
      }
      context.globalAlpha = 1;
      context.fillStyle = style.color;
      context.font = style.font;
      context.textBaseline = "middle";
      context.textAlign = style.textAlign === "right" || style.textAlign === "end" ? "right" : "left";
      context.fillText(each.textContent, context.textAlign === "right" ? left + width : left, top + height / 2, width);
    }
    const link = element("a", { download: "scrubber.png" });
    canvas.toBlob((blob) => {
      link.href = URL.createObjectURL(blob);
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    }, "image/png");
  }
}

/** Panels that share the chosen channel, with gates of one value per channel and the scores over time. */
class Group {
  constructor(view, spec, place) {
    Object.assign(this, { view, spec, place });
    this.order = spec.orders[0][0];
    this.channel = this.#offered()[0]; // that is shown
    this.chosen = null; // by the reader, where it is not the first of an order
    this.panels = spec.panels.map((panel) => new Panel(view, this, panel));
    this.strips = spec.strips.map((strip) => new Strip(view, this, strip));
    this.curve = spec.scores && new Curve(view, spec.scores);
    this.row = element("div", { class: "panels" });
    // With every group, so that the panels of variants stand in line.
    this.frame = view.header.frames.length ? [new Panel(view, null, FRAME)] : [];
    const ordered = [...this.panels, ...this.strips].sort((one, other) => one.spec.place - other.spec.place);
    this.row.append(...[...this.frame, ...ordered].map((panel) => panel.node));
    if (this.curve) this.row.append(this.curve.node);
    this.node = element("section", { class: "group", "data-group": spec.title, "aria-label": spec.title });
    this.node.append(this.#heading(), this.row);
  }

  draw() {
    for (const strip of this.strips) strip.draw();
    this.curve?.draw();
  }

  /** The channels one can choose, in the chosen order. */
  #offered() {
    const order = this.spec.orders.find(([name]) => name === this.order)[1];
    return this.view.onChannel ? order : order.filter((channel) => this.spec.channels.includes(channel));
  }

  #heading() {
    const { title, numChannels, orders, channels } = this.spec;
    const heading = element("div", { class: "bar" });
    heading.append(element("h3", { "data-text": "" }, title));
    if (numChannels < 2) return heading;
    this.channels = element("select", { "aria-label": `channel of ${title}` });
    this.channels.addEventListener("input", () => {
      for (const group of this.#linked()) group.#choose(Number(this.channels.value));
    });
    this.orders = select(orders.map(([name]) => name), this.order);
    this.orders.addEventListener("input", () => {
      for (const group of this.#linked()) group.#orderBy(this.orders.value);
    });
    this.#offer();
    this.orders.setAttribute("aria-label", `ordered by, channels of ${title}`);
    heading.append(labelled("channel", this.channels, "counted from 0; the same in every panel of this row"));
    heading.append(labelled("ordered by", this.orders, "choosing an order shows its first channel"));
    if (!this.view.onChannel && channels.length < numChannels) {
      heading.append(element("span", { class: "note" }, `${channels.length} of ${numChannels} channels are kept here`));
    }
    return heading;
  }

  #offer() {
    this.channels.replaceChildren(...this.#offered().map((each) => new Option(each, each)));
    this.channels.value = this.channel;
  }

  /** This group, and those that show the same channels with or without a replacement. */
  #linked() {
    const { link } = this.spec;
    return this.view.groups.filter((group) => group === this || (link && group.spec.link === link));
  }

  /** Keep the choices made in an earlier recording's group, where they still exist. */
  follow(earlier) {
    if (!earlier || this.spec.numChannels < 2) return;
    if (this.spec.orders.some(([name]) => name === earlier.order)) this.#orderBy(earlier.order);
    if (this.#offered().includes(earlier.chosen)) this.#choose(earlier.chosen);
  }

  #orderBy(name) {
    this.order = this.orders.value = name;
    const [first] = this.#offered();
    this.#offer();
    this.#choose(first);
    this.chosen = null;
  }

  async #choose(channel) {
    const { spec, view } = this;
    this.chosen = this.awaited = channel;
    this.channels.value = channel;
    if (!spec.channels.includes(channel)) {
      const bytes = await view.onChannel(this.place, channel);
      if (!spec.channels.includes(channel)) {
        let place = 0;
        for (const panel of this.panels) place = panel.take(bytes, place);
        spec.channels.push(channel);
      }
      if (this.awaited !== channel) return; // another was chosen meanwhile
    }
    this.channel = channel;
    view.request();
  }
}

/** A frame, a map or both, with what is drawn on top, a colour bar and the value under the pointer. */
class Panel {
  constructor(view, group, spec) {
    Object.assign(this, { view, group, spec });
    const { width, height } = view.header;
    const { rows = height, columns = width } = spec;
    this.frame = element("canvas", { class: "frame", width, height });
    this.map = element("canvas", { class: "map", width: columns, height: rows });
    this.marks = element("canvas", { class: "marks" });
    this.value = element("output", { class: "value", title: "at (row, column), from (0, 0) in the upper left corner" });
    const stack = stackOf();
    stack.style.aspectRatio = `${width} / ${height}`;
    stack.append(this.frame, ...(group ? [this.map] : []), this.marks);
    stack.addEventListener("pointermove", (event) => {
      const box = stack.getBoundingClientRect();
      view.pointer = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
      view.request();
    });
    stack.addEventListener("pointerleave", () => {
      view.pointer = null;
      view.request();
    });
    this.stack = stack;
    this.node = figureOf(spec);
    this.node.append(stack);
    if (group) this.node.append((this.bar = new ColourBar()).node);
    this.node.append(this.value);
    if (group) {
      this.pixels = new ImageData(columns, rows);
      this.words = new Uint32Array(this.pixels.data.buffer);
    }
  }

  /** The plane shown: of the chosen channel, or the mean or maximum of all. */
  plane() {
    const { planes, reduced } = this.spec;
    if (!reduced.length) return planes[0];
    const found = reduced.find(([name]) => name === this.view.shown);
    return found ? found[1] : planes[this.group.spec.channels.indexOf(this.group.channel)] ?? planes[0];
  }

  /** The levels of this step. */
  levels(plane) {
    const size = this.spec.rows * this.spec.columns;
    const from = plane.bytes ?? this.view.bytes;
    return from.subarray(plane.offset + this.view.step * size, plane.offset + (this.view.step + 1) * size);
  }

  /** Lowest and highest value of the colours; symmetric about 0 for signed quantities. */
  limits(plane) {
    let { low, high } = plane;
    if (this.view.limits === LIMITS[1]) {
      for (const { spec } of this.view.panels) {
        if (spec.title !== this.spec.title) continue;
        for (const each of spec.planes) [low, high] = [Math.min(low, each.low), Math.max(high, each.high)];
      }
    } else if (this.view.limits === LIMITS[2]) {
      let [least, most] = [LAST_LEVEL, 0];
      for (const level of this.levels(plane)) [least, most] = [Math.min(least, level), Math.max(most, level)];
      [low, high] = [valueOf(plane, least), valueOf(plane, most)];
    }
    if (!this.spec.signed) return [low, high];
    const far = Math.max(Math.abs(low), Math.abs(high));
    return [-far, far];
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
    if (group) this.#drawMap();
    this.#drawMarks();
    this.#say();
    const what = group ? `${spec.title}, ${this.#which()}` : "frame";
    this.stack.setAttribute("aria-label", `${what}, step ${view.step + 1} of ${view.header.steps}`);
  }

  #which() {
    if (!this.spec.reduced.length) return "one map";
    return this.view.shown === "channel" ? `channel ${this.group.channel}` : `${this.view.shown} of channels`;
  }

  #drawMap() {
    const plane = this.plane();
    const levels = this.levels(plane);
    const [low, high] = this.limits(plane);
    const lookup = this.view.lookup(this.spec.signed);
    const key = [plane.offset, plane.low, plane.high, low, high, lookup.byteOffset].join();
    if (key !== this.key) {
      this.key = key;
      this.colours = coloursOf(plane, low, high, lookup);
      this.bar.show(lookup, low, high, this.spec.unit, this.view.limits === LIMITS[2]);
    }
    for (let place = 0; place < levels.length; place++) this.words[place] = this.colours[levels[place]];
    this.map.getContext("2d").putImageData(this.pixels, 0, 0);
    this.map.style.opacity = this.view.opacity;
  }

  #drawMarks() {
    const context = sized(this.marks, this.stack);
    if (!context) return;
    const { width, height } = this.view.header;
    const [wide, high] = [this.marks.width, this.marks.height];
    context.clearRect(0, 0, wide, high);
    const hand = this.view.hand();
    if (hand) {
      context.save();
      context.scale(wide / width, high / height);
      strokeTwice(context, hand, (width / wide) * devicePixelRatio);
      context.restore();
    }
    if (this.view.pointer) {
      const [x, y] = [this.view.pointer[0] * wide, this.view.pointer[1] * high];
      strokeTwice(context, new Path2D(`M${x} 0V${high}M0 ${y}H${wide}`), devicePixelRatio * 0.5);
    }
  }

  #say() {
    const { pointer, header } = this.view;
    if (!pointer) return void (this.value.value &&= "");
    const { rows = header.height, columns = header.width } = this.spec;
    const row = Math.min(Math.max(Math.floor(pointer[1] * rows), 0), rows - 1);
    const column = Math.min(Math.max(Math.floor(pointer[0] * columns), 0), columns - 1);
    const place = `(${row}, ${column})`;
    if (!this.group) return void (this.value.value = place);
    const plane = this.plane();
    this.value.value = `${number(valueOf(plane, this.levels(plane)[row * columns + column]), plane.high - plane.low)} at ${place}`;
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
    this.value = element("output", { class: "value" });
    this.bar = new ColourBar();
    this.node = figureOf(spec, "strip");
    this.node.append(this.stack, this.bar.node, this.value);
    scrubBy(view, this.stack);
    this.stack.addEventListener("pointermove", (event) => {
      const box = this.stack.getBoundingClientRect();
      const place = (part, count) => Math.min(Math.max(Math.floor(part * count), 0), count - 1);
      const channel = place((event.clientY - box.top) / box.height, spec.channels);
      const step = place((event.clientX - box.left) / box.width, steps);
      const level = view.at(spec.offset, steps * spec.channels)[channel * steps + step];
      this.value.value = `${number(valueOf(spec, level), spec.high - spec.low)} in channel ${channel}, step ${step + 1}`;
    });
    this.stack.addEventListener("pointerleave", () => (this.value.value = ""));
  }

  draw() {
    const { view, spec, group } = this;
    const { steps } = view.header;
    const far = Math.max(Math.abs(spec.low), Math.abs(spec.high));
    const [low, high] = spec.signed ? [-far, far] : [spec.low, spec.high];
    const lookup = view.lookup(spec.signed);
    if (this.lookup !== lookup.byteOffset) {
      this.lookup = lookup.byteOffset;
      const colours = coloursOf(spec, low, high, lookup);
      const pixels = new ImageData(steps, spec.channels);
      const words = new Uint32Array(pixels.data.buffer);
      view.at(spec.offset, words.length).forEach((level, place) => (words[place] = colours[level]));
      this.map.getContext("2d").putImageData(pixels, 0, 0);
      this.bar.show(lookup, low, high, spec.unit, false);
    }
    this.stack.setAttribute("aria-label", `${spec.title}, every channel and step; step ${view.step + 1} is marked`);
    const context = sized(this.marks, this.stack);
    if (!context) return;
    const [wide, tall] = [this.marks.width, this.marks.height];
    context.clearRect(0, 0, wide, tall);
    const cursor = new Path2D();
    cursor.rect((view.step * wide) / steps, 0, wide / steps, tall);
    if (spec.channels === group.spec.numChannels && view.shown === "channel") {
      const y = ((group.channel + 0.5) * tall) / spec.channels;
      cursor.addPath(new Path2D(`M0 ${y}h${wide * 0.06}M${wide} ${y}h${-wide * 0.06}`));
    }
    strokeTwice(context, cursor, devicePixelRatio);
  }
}

/** The probabilities of the likeliest classes over the steps. */
class Curve {
  constructor(view, spec) {
    Object.assign(this, { view, spec });
    const { names, offset } = spec;
    const count = view.header.steps * names.length;
    this.values = new Float32Array(view.bytes.slice(offset, offset + 4 * count).buffer);
    this.canvas = element("canvas", { class: "marks" });
    this.stack = stackOf();
    this.stack.append(this.canvas);
    this.node = figureOf(
      { name: "scores", title: "class score", unit: "probability", help: "Softmax of the scores after every step, 0 to 1." },
      "curve",
    );
    this.list = element("ol", { class: "classes" });
    this.outputs = names.map((name, place) => {
      const line = element("li", {});
      const swatch = element("span", { class: "swatch" });
      swatch.style.background = LINES[place];
      const value = element("output", { "data-text": "" });
      line.append(swatch, element("bdi", { "data-text": "" }, name), value);
      this.list.append(line);
      return value;
    });
    const beside = element("div", { class: "beside" });
    beside.append(this.stack, this.list);
    this.node.append(beside);
    scrubBy(view, this.stack);
  }

  draw() {
    const { view, values, spec } = this;
    const { steps } = view.header;
    const count = spec.names.length;
    const now = spec.names.map((_, place) => values[view.step * count + place]);
    this.outputs.forEach((output, place) => (output.value = now[place].toFixed(2)));
    const words = spec.names.map((name, place) => `${name} ${now[place].toFixed(2)}`).join(", ");
    this.stack.setAttribute("aria-label", `class scores after step ${view.step + 1}: ${words}`);
    const context = sized(this.canvas, this.stack);
    if (!context) return;
    const [wide, tall] = [this.canvas.width, this.canvas.height];
    const unit = devicePixelRatio;
    const x = (step) => ((step + 0.5) * wide) / steps;
    const y = (value) => 3 * unit + (1 - value) * (tall - 6 * unit);
    context.clearRect(0, 0, wide, tall);
    context.strokeStyle = context.fillStyle = getComputedStyle(this.node).color;
    context.lineWidth = unit / 2;
    context.globalAlpha = 0.35;
    context.stroke(new Path2D([0, 0.5, 1].map((value) => `M0 ${y(value)}H${wide}`).join("")));
    context.globalAlpha = 0.12;
    context.fillRect((view.step * wide) / steps, 0, wide / steps, tall);
    context.globalAlpha = 1;
    context.lineWidth = 2 * unit;
    for (let place = 0; place < count; place++) {
      const points = Array.from({ length: steps }, (_, step) => `${x(step)} ${y(values[step * count + place])}`);
      context.strokeStyle = context.fillStyle = LINES[place];
      context.stroke(new Path2D(`M${points.join("L")}`));
      context.fillRect(x(view.step) - 2.5 * unit, y(now[place]) - 2.5 * unit, 5 * unit, 5 * unit);
    }
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

/** Return the line between the pixels of a mask, one bit each, and those outside it. */
function outlineOf(bytes, firstBit, width, height) {
  const inside = (x, y) => {
    if (x < 0 || y < 0 || x >= width || y >= height) return 0;
    const bit = firstBit + y * width + x;
    return (bytes[bit >> 3] >> (bit & 7)) & 1;
  };
  const edges = [];
  for (let y = 0; y <= height; y++) {
    for (let x = 0; x <= width; x++) {
      if (inside(x, y) !== inside(x, y - 1)) edges.push(`M${x} ${y}h1`);
      if (inside(x, y) !== inside(x - 1, y)) edges.push(`M${x} ${y}v1`);
    }
  }
  return new Path2D(edges.join(""));
}

/** Draw white on black, visible on every colour. */
function strokeTwice(context, path, width) {
  for (const [colour, times] of [["#000a", 3], ["#fff", 1.25]]) {
    context.strokeStyle = colour;
    context.lineWidth = times * width;
    context.stroke(path);
  }
}

/** The context of a canvas as large as its box on the screen; null where the box has no size. */
function sized(canvas, box) {
  const [width, height] = [box.clientWidth, box.clientHeight].map((length) => Math.round(length * devicePixelRatio));
  if (!width || !height) return null;
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  return canvas.getContext("2d");
}

/** Set the step from the pointer while it is held down. */
function scrubBy(view, node) {
  const follow = (event) => {
    const box = node.getBoundingClientRect();
    view.setStep(Math.floor(((event.clientX - box.left) / box.width) * view.header.steps));
  };
  node.addEventListener("pointerdown", (event) => {
    node.setPointerCapture(event.pointerId);
    follow(event);
  });
  node.addEventListener("pointermove", (event) => event.buttons && follow(event));
}

/** Return a stack of canvases; a click gives it the keys that step through the clip. */
function stackOf() {
  return element("div", { class: "stack", role: "img", tabindex: -1 });
}

function figureOf({ name, title, unit, help }, kind = "panel") {
  const figure = element("figure", { class: kind, "data-name": name });
  const caption = element("figcaption", { title: [help, unit && `Values: ${unit}.`, name].filter(Boolean).join(" ") });
  caption.append(element("span", { "data-text": "" }, title));
  figure.append(caption);
  return figure;
}

function labelled(words, input, help) {
  const label = element("label", { title: help });
  label.append(element("span", {}, words), input);
  return label;
}

function select(names, chosen) {
  const node = element("select", {});
  node.append(...names.map((name) => (Array.isArray(name) ? new Option(name[1], name[0]) : new Option(name, name))));
  node.value = chosen;
  return node;
}

/** Format a value to a thousandth of its range, with a true minus. */
function number(value, range) {
  const digits = range > 0 ? Math.min(Math.max(3 - Math.floor(Math.log10(range)), 0), 20) : null;
  return String(Number(digits === null ? value.toPrecision(3) : value.toFixed(digits))).replace("-", "\u2212");
}

/** Make an element; text is set as text, so a name from a file holds no markup. */
function element(tag, attributes, text = "") {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text) node.textContent = text;
  return node;
}
