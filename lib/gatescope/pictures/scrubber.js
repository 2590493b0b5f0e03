// A clip and a network's recording of it, step by step, on canvases: the view and its groups, without dependencies.

const LIMITS = [
  ["natural", "gates 0 to 1, others by channel"],
  ["channel", "channel, whole clip"],
  ["quantity", "quantity, whole clip"],
  ["step", "this step only"],
];
const SHOWN = [["channel", "one channel"], ["mean", "mean of channels"], ["max", "max of channels"]];
const FRAME = { name: "frame", title: "frame", unit: "", help: "The clip as the network received it, pixel by pixel." };
const KEYS = [
  ["space or k", "play and pause"],
  ["\u2190 \u2192 or , .", "one step back or on; Home and End: first and last step"],
  ["click, tap, Enter on a map", "pin a place, or remove its pin; its curves stand below every map"],
  ["drag or hover on a map", "the curve of the place under the pointer, dashed"],
  ["Shift and arrow keys on a map", "move the place that Enter pins"],
  ["click on a tile of all channels", "choose the channel; arrow keys go on from there"],
  ["drag on the frames, a curve or a strip", "go to a step"],
  ["?", "these keys; Escape closes them, and enlarged pictures"],
];
const SAID_MS = 50; // at least, between words while the step goes on changing

/**
 * Fill `root` with a scrubber. `onChannel(group, channel)`, where given, resolves to the bytes of a channel that
 * was not sent before: for every panel of the group lowest and highest value as float32, then a plane. `onLink(state)`
 * resolves to words on where the state was put.
 */
export function mount(root, header, bytes, { css = "", onChannel = null, onLink = null } = {}) {
  const view = new View(root, header, bytes, { css, onChannel, onLink });
  return view.ready.then(() => view);
}

class View {
  constructor(root, header, bytes, { css, onChannel, onLink }) {
    Object.assign(this, { root, header, bytes, onChannel, onLink });
    this.step = header.opens;
    this.shown = SHOWN[0][0];
    this.colours = header.colours[0][0];
    this.limits = LIMITS[0][0];
    this.opacity = 1;
    this.outline = header.hand !== null;
    this.smooth = false;
    this.pointer = null; // where in a picture, as parts of its width and height
    this.onDraw = null; // called after every picture
    this.sizes = new WeakMap(); // px of the boxes that canvases fill: reading them while drawing would lay out anew
    this.observer = new ResizeObserver((seen) => {
      for (const { target, contentRect } of seen) this.sizes.set(target, contentRect);
      this.node.style.setProperty("--timeline", `${this.timeline.node.offsetHeight}px`);
      this.request();
    });
    this.inView = new Set(); // nodes of pictures that stand in the window
    this.sight = new IntersectionObserver(
      (seen) => {
        for (const { target, isIntersecting } of seen) this.inView[isIntersecting ? "add" : "delete"](target);
        this.request();
      },
      { rootMargin: "10%" }, // before they are scrolled into it
    );
    this.pins = new Pins(this);
    this.timeline = new Timeline(this);
    this.slider = this.timeline.slider;
    this.groups = header.groups.map((spec, place) => new Group(this, spec, place));
    this.frame = header.frames.length ? new Panel(this, null, FRAME) : null;
    this.panels = [...(this.frame ? [this.frame] : []), ...this.groups.flatMap((group) => group.panels)];
    const others = this.groups.flatMap(({ strips, curve }) => (curve ? [...strips, curve] : strips));
    this.pictures = [...this.panels, ...others];
    this.grids = this.groups.map((group) => group.grid).filter(Boolean);
    for (const { node } of [...this.pictures, ...this.grids]) this.sight.observe(node);
    this.node = element("div", { class: "scrubber", role: "group", "aria-label": header.title || "scrubber" });
    this.#build(css);
    this.node.addEventListener("keydown", (event) => this.#key(event));
    this.repaint = () => {
      ({ color: this.ink, backgroundColor: this.paper } = getComputedStyle(this.node));
      this.request();
    };
    this.repaint();
    root.host.addEventListener("themechange", this.repaint);
    this.slider.value = this.step;
    this.ready = this.#decode().then(() => {
      this.pins.places = this.#firstPlace();
      this.drawAll();
    });
  }

  /** Know the size of a box without asking for it. */
  watch(node) {
    this.observer.observe(node);
  }

  /** Go to a step, from 0; beyond either end is that end. */
  setStep(step) {
    this.step = within(step, 0, this.header.steps - 1);
    this.request();
  }

  /** Go to a step that the reader asks for: what plays stops there. */
  goTo(step) {
    this.pause();
    this.setStep(step);
  }

  /** Show a place, as parts of a picture's width and height, on every map and curve; null for none. */
  point(place) {
    this.pointer = place;
    this.request();
  }

  play() {
    this.timeline.play();
  }

  pause() {
    this.timeline.pause();
  }

  /** Say something over what is below the timeline, until the next click or key, and to screen readers. */
  say(words) {
    this.words.value = words;
  }

  /** Show another recording in the same place, at the same step and with the same choices where they still exist. */
  async replace(header, bytes) {
    this.#leave();
    const css = this.root.querySelector("style").textContent;
    const { onChannel, onLink } = this;
    const next = await mount(this.root, header, bytes, { css, onChannel, onLink });
    for (const name of Object.keys(this.controls)) {
      if (name !== "outline" || this.header.hand !== null) next.choose(name, this[name]);
    }
    const key = ({ spec }) => spec.link || spec.title;
    for (const group of next.groups) group.follow(this.groups.find((each) => key(each) === key(group)));
    next.pins.places = this.pins.places;
    next.setStep(this.step);
    return next;
  }

  destroy() {
    this.#leave();
    this.root.replaceChildren();
  }

  #leave() {
    this.timeline.destroy();
    this.observer.disconnect();
    this.sight.disconnect();
    this.root.host.removeEventListener("themechange", this.repaint);
  }

  /** Draw once before the browser shows the next picture, however often it is asked for. */
  request() {
    this.waiting ??= requestAnimationFrame(() => this.draw());
  }

  /** Draw what stands in the window. Only canvases change, for which the browser lays nothing out anew. */
  draw(isSeen = ({ node }) => this.inView.has(node)) {
    this.waiting = undefined;
    if (!this.frames) return; // still being decoded
    this.timeline.draw();
    for (const picture of this.pictures) if (isSeen(picture)) picture.draw();
    this.saying ??= requestAnimationFrame((now) => this.#say(now));
    this.onDraw?.();
  }

  /** Draw everything now, in the window or not. */
  drawAll() {
    this.draw(() => true);
    if (this.frames) this.#say(performance.now(), () => true);
  }

  /** Words and all channels, a frame after the maps; while the step goes on changing, less often than they. */
  #say(now, isSeen = ({ node }) => this.inView.has(node)) {
    cancelAnimationFrame(this.saying);
    this.saying = undefined;
    if (this.waiting !== undefined && now - this.said < SAID_MS) {
      this.saying = requestAnimationFrame((next) => this.#say(next));
      return;
    }
    this.said = now;
    this.slider.value = this.step;
    for (const each of [this.timeline, ...this.pictures]) each.say();
    for (const grid of this.grids) if (isSeen(grid)) grid.draw();
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
    this[name] = value;
    const control = this.controls[name];
    if (control.type === "checkbox") control.checked = value;
    else control.value = value;
    this.node.classList.toggle("smooth", this.smooth);
    this.request();
  }

  get speed() {
    return this.timeline.speed;
  }

  set speed(value) {
    this.timeline.setSpeed(Number(value));
  }

  /** Return the outline of the hand at this step; null where it is not known. */
  hand() {
    const { hand, width, height } = this.header;
    if (hand === null || !this.outline) return null;
    this.outlines ??= [];
    const inside = (x, y) => x >= 0 && y >= 0 && x < width && y < height && this.#handAt(this.step, y * width + x);
    return (this.outlines[this.step] ??= outlineOf(inside, width, height));
  }

  /** Whether the hand covers a place, as parts of the frame's width and height, at a step. */
  handCovers(step, x, y) {
    const { width, height } = this.header;
    return this.#handAt(step, cellAt(y, height) * width + cellAt(x, width)) === 1;
  }

  #handAt(step, pixel) {
    const { hand, width, height } = this.header;
    const bit = 8 * hand + step * width * height + pixel;
    return (this.bytes[bit >> 3] >> (bit & 7)) & 1;
  }

  /** Where the scrubber opens with a pin: in the middle of the hand, or where the last map changes most. */
  #firstPlace() {
    const { hand, width, height } = this.header;
    const places = [];
    if (hand !== null) {
      for (let pixel = 0; pixel < width * height; pixel++) {
        if (this.#handAt(this.step, pixel)) places.push([((pixel % width) + 0.5) / width, (Math.floor(pixel / width) + 0.5) / height]);
      }
    }
    if (places.length) {
      const middle = [0, 1].map((axis) => places.reduce((sum, place) => sum + place[axis], 0) / places.length);
      const far = (place) => Math.hypot(place[0] - middle[0], place[1] - middle[1]);
      return [places.reduce((best, place) => (far(place) < far(best) ? place : best))];
    }
    const panel = this.groups.find((group) => group.panels.length)?.panels.at(-1);
    if (!panel) return [];
    const { rows, columns } = panel.spec;
    let [best, most] = [[0.5, 0.5], -1];
    for (let cell = 0; cell < rows * columns; cell++) {
      const place = [((cell % columns) + 0.5) / columns, (Math.floor(cell / columns) + 0.5) / rows];
      const values = panel.valuesAt(panel.plane(), ...place);
      const range = Math.max(...values) - Math.min(...values);
      if (range > most) [best, most] = [place, range];
    }
    return [best];
  }

  async #decode() {
    const spans = this.header.frames;
    this.frames = await Promise.all(
      spans.map(([offset, length]) => createImageBitmap(new Blob([this.at(offset, length)], { type: "image/jpeg" }))),
    );
  }

  #build(css) {
    const { title } = this.header;
    const help = this.#help();
    this.timeline.bar.append(this.ask);
    this.words = element("output", { class: "words", role: "status", "aria-live": "polite" });
    this.timeline.node.append(this.words);
    for (const kind of ["pointerdown", "keydown"]) this.node.addEventListener(kind, () => this.say(""), { capture: true });
    const controls = element("div", { class: "controls" });
    controls.append(this.#looks(), savers(this, this.onLink));
    const side = element("div", { class: "side" });
    if (this.frame) {
      const { width, height } = this.header;
      this.frame.node.querySelector(".caption").textContent = `frame, ${width} × ${height} px`;
      side.append(this.frame.node);
    }
    if (this.panels.length) side.append(this.pins.node);
    const groups = element("div", { class: "groups" });
    groups.append(...this.groups.map((group) => group.node));
    const body = element("div", { class: "body" });
    body.append(side, groups);
    if (title) this.node.append(element("p", { class: "title", "data-text": "" }, title));
    this.node.append(this.timeline.node, help, controls, body);
    this.root.replaceChildren(element("style", {}, css), this.node);
  }

  #looks() {
    const { colours, hand, frames } = this.header;
    this.controls = {
      speed: this.timeline.speeds,
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
    const { shown, colours: map, limits, opacity, outline, smooth } = this.controls;
    const looks = element("div", { class: "bar" });
    looks.append(
      labelled("show", shown, "one channel of each quantity, or the mean or maximum of all channels"),
      labelled("colours", map, "colour map of unsigned quantities; signed ones are blue below 0 and red above"),
      labelled("limits", limits, "the values over which the ends of the colour bars and of the curves are taken"),
      ...(frames.length
        ? [labelled("opacity over frame", opacity, "below 1 the frame shows through, and colours differ from the bar's")]
        : []),
      ...(hand === null ? [] : [labelled("hand outline", outline, "outline of the hand in the frame")]),
      labelled("smooth", smooth, "blend neighbouring positions of a map"),
    );
    return looks;
  }

  /** The keys and the units, and the button that shows them. */
  #help() {
    const help = element("div", { class: "help", id: "help" });
    help.hidden = true;
    const listOf = (pairs) => {
      const list = element("dl", {});
      for (const [term, words] of pairs) list.append(element("dt", {}, term), element("dd", {}, words));
      return list;
    };
    const specs = this.header.groups.flatMap(({ panels, strips }) => [...panels, ...strips]);
    const units = new Map(specs.map(({ title, unit, help }) => [title, [help, unit && `Values: ${unit}.`].filter(Boolean).join(" ")]));
    help.append(
      listOf(KEYS),
      listOf([...units].filter(([, words]) => words)),
      element("p", {}, `Values are kept to 1/255 of their channel's range. Grey in a curve: the hand covers the place.`),
    );
    this.ask = buttonOf("?", "keys and units", () => {
      help.hidden = !help.hidden;
      this.ask.setAttribute("aria-expanded", !help.hidden);
    });
    for (const [name, value] of [["aria-label", "keys and units"], ["aria-expanded", false], ["aria-controls", "help"]]) {
      this.ask.setAttribute(name, value);
    }
    this.ask.className = "ask";
    return help;
  }

  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const presses = event.target.matches("button, input[type=checkbox]"); // these know space alone
    const chooses = event.target.matches("select");
    const slides = event.target.matches("input[type=range]");
    const { steps } = this.header;
    const isTime = event.target === this.slider;
    const actions = { ",": () => this.goTo(this.step - 1), ".": () => this.goTo(this.step + 1) };
    if (!chooses) actions["?"] = () => this.ask.click();
    const open = this.node.querySelectorAll(".enlarge[aria-pressed='true'], .ask[aria-expanded='true']");
    if (open.length) actions.Escape = () => open.forEach((button) => button.click());
    if (!chooses) actions.k = () => this.timeline.button.click();
    if (!chooses && !presses) actions[" "] = actions.k;
    if (isTime) Object.assign(actions, { ArrowDown: actions[","], ArrowUp: actions["."] });
    if (!chooses && (!slides || isTime)) {
      Object.assign(actions, { ArrowLeft: actions[","], ArrowRight: actions["."] });
      Object.assign(actions, { Home: () => this.goTo(0), End: () => this.goTo(steps - 1) });
    }
    if (!(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  }
}
