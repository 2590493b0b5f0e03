// The stepper: equations with maps for symbols; a term is chosen, a pixel is pointed at, and its numbers are told.

const LARGE = 272; // px, side of the chosen term
const GATE_NAMES = { i: "input gate", f: "forget gate", o: "output gate", g: "candidate" };

class StepperElement extends HTMLElement {
  async connectedCallback() {
    this.leaveTheme = followTheme(this);
    keepKeys(this);
    if (this.shadowRoot) return;
    const [header, css, data] = [...this.querySelectorAll("script")].map((script) => script.textContent);
    const root = this.attachShadow({ mode: "open" });
    const bytes = await inflate(data);
    root.append(element("style", {}, css), new Stepper(JSON.parse(header), bytes).node);
    this.setAttribute("data-ready", "");
  }

  disconnectedCallback() {
    this.leaveTheme();
  }
}

class Stepper {
  constructor(header, bytes) {
    this.header = header;
    this.bytes = bytes;
    this.step = header.first;
    this.chosen = "i";
    this.place = null; // row and column that are pointed at, as parts of the whole
    this.kept = { y: 0.5, x: 0.5 }; // what is shown while nothing is pointed at
    this.pictures = header.frames.map(([start, length]) => {
      const image = new Image();
      image.src = URL.createObjectURL(new Blob([bytes.subarray(start, start + length)], { type: "image/jpeg" }));
      image.onload = () => this.draw();
      return image;
    });
    this.terms = [];
    this.node = element("section", { class: "stepper", "aria-label": header.title || "one step" });
    if (header.title) this.node.append(element("p", { class: "title" }, header.title));
    this.node.append(this.bar(), this.table());
    this.node.onkeydown = (event) => this.stepByKey(event);
    this.draw();
  }

  /** Arrow keys, Home and End move through the clip, wherever they mean nothing else. */
  stepByKey(event) {
    if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey || event.target === this.slider) return;
    const last = this.header.steps - 1;
    const steps = { ArrowLeft: this.step - 1, ArrowRight: this.step + 1, Home: 0, End: last };
    if (!(event.key in steps)) return;
    event.preventDefault();
    this.go(Math.min(Math.max(steps[event.key], 0), last));
  }

  bar() {
    const bar = element("div", { class: "bar" });
    const move = (by) => this.go((this.step + by + this.header.steps) % this.header.steps);
    const buttons = [["Step back", -1], ["Next step", 1]].map(([words, by]) => {
      const button = element("button", { type: "button" }, words);
      button.onclick = () => move(by);
      return button;
    });
    this.slider = element("input", { type: "range", min: 0, max: this.header.steps - 1, "aria-label": "time step" });
    this.slider.oninput = () => this.go(Number(this.slider.value));
    this.when = element("output", {});
    bar.append(buttons[0], this.slider, buttons[1], this.when);
    return bar;
  }

  table() {
    const pooled = this.header.pooled;
    const table = element("div", { class: "table" });
    const equations = element("div", { class: "equations" });
    const number = (n) => String(pooled ? n + 9 : n);
    const gates = ["i", "f", "o", "g"].map((name, n) => [
      [name, ""],
      [`x_${name}`, name === "g" ? "= tanh(" : "= σ("],
      [`h_${name}`, "+", `)   (${number(n + 1)})`],
    ]);
    const rows = [
      ...gates,
      [["c", ""], ["kept", "="], ["written", "+", `(${number(5)})`]],
      [["h", ""], ["o", "="], ["tanh", "∘", `(${number(6)})`]],
    ];
    for (const row of rows) {
      const line = element("div", { class: "equation" });
      for (const [name, before, after] of row) {
        if (before) line.append(element("span", { class: "sign" }, before));
        line.append(this.term(name));
        if (after) line.append(element("span", { class: "sign" }, after));
      }
      equations.append(line);
    }
    const beside = element("div", { class: "beside" });
    this.frame = this.canvas("frame", 104, "the frame that the step ends with");
    const given = element("div", { class: "equation" });
    for (const name of ["h_before", "c_before"]) given.append(this.term(name));
    const photo = element("span", { class: "term" });
    photo.append(this.frame, element("span", { class: "symbol" }, "frame"));
    given.prepend(photo);
    this.large = this.canvas("large", LARGE, "the chosen term; arrow keys move the pixel");
    this.large.tabIndex = 0;
    this.large.onkeydown = (event) => this.byKey(event);
    this.name = element("h4", {});
    this.scale = element("div", { class: "scale" });
    this.told = element("div", { class: "told", "aria-live": "polite" });
    beside.append(given, this.name, this.large, this.scale, this.told);
    table.append(equations, beside);
    return table;
  }

  term(name) {
    const button = element("button", { type: "button", class: "term", "data-term": name, "aria-label": plain(name) });
    const canvas = this.canvas(name, 60);
    const symbol = element("span", { class: "symbol" });
    symbol.append(...symbolOf(name, this.header.pooled));
    button.append(canvas, symbol);
    button.onclick = () => {
      this.chosen = name;
      if (this.place) this.kept = this.place;
      this.draw();
    };
    this.terms.push({ name, canvas, button });
    return button;
  }

  canvas(name, side, label = "") {
    const canvas = element("canvas", { width: side * 2, height: side * 2, style: `width:${side}px` });
    if (label) {
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", label);
    }
    const point = (event) => {
      const box = canvas.getBoundingClientRect();
      this.place = { y: (event.clientY - box.top) / box.height, x: (event.clientX - box.left) / box.width };
      this.place = { y: Math.min(Math.max(this.place.y, 0), 0.999), x: Math.min(Math.max(this.place.x, 0), 0.999) };
      this.draw();
    };
    canvas.onpointermove = point;
    canvas.onpointerdown = (event) => {
      point(event);
      this.kept = this.place;
    };
    canvas.onpointerleave = () => {
      this.place = null;
      this.draw();
    };
    return canvas;
  }

  byKey(event) {
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    if (!(event.key in moves)) return;
    event.preventDefault();
    const [rows, columns] = this.size();
    const [down, right] = moves[event.key];
    const move = (at, by, count) => (Math.min(Math.max(Math.floor(at * count) + by, 0), count - 1) + 0.5) / count;
    this.kept = { y: move(this.kept.y, down, rows), x: move(this.kept.x, right, columns) };
    this.place = null;
    this.draw();
  }

  go(step) {
    this.step = step;
    this.draw();
  }

  size() {
    return this.header.terms.c.shape;
  }

  pixel() {
    const [rows, columns] = this.size();
    const { y, x } = this.place ?? this.kept;
    return [Math.floor(y * rows), Math.floor(x * columns)];
  }

  plane({ offset, reach, shape }, step = this.step) {
    const count = shape.reduce((a, b) => a * b);
    const levels = new Int16Array(this.bytes.buffer, this.bytes.byteOffset + offset + 2 * count * step, count);
    return { shape, at: (place) => (levels[place] / 32767) * reach };
  }

  value(name, step = this.step) {
    const { shape, at } = this.plane(this.header.terms[name], step);
    const [row, column] = this.pixel();
    return at(shape[0] * shape[1] === 1 ? 0 : row * shape[1] + column);
  }

  draw() {
    const { steps, framesPerStep, terms } = this.header;
    this.slider.value = this.step;
    const last = (this.step + 1) * framesPerStep;
    this.when.textContent = `step ${this.step + 1} of ${steps}, frames ${last - framesPerStep + 1} to ${last}`;
    for (const { name, canvas, button } of this.terms) {
      this.paint(canvas, terms[name]);
      button.setAttribute("aria-pressed", String(name === this.chosen));
    }
    this.paint(this.large, terms[this.chosen]);
    this.photograph();
    const [low, high] = terms[this.chosen].scale;
    this.name.replaceChildren(...symbolOf(this.chosen, this.header.pooled), `, ${plain(this.chosen)}`);
    const bar = element("span", { class: low < 0 ? "signed" : "gate" });
    const beyond = terms[this.chosen].reach > high + 1e-6;
    this.scale.replaceChildren(beyond ? `≤ ${fixed(low)}` : fixed(low), bar, beyond ? `≥ ${fixed(high)}` : fixed(high));
    this.told.replaceChildren(...this.tell());
  }

  paint(canvas, term) {
    const { shape, at } = this.plane(term);
    const [low, high] = term.scale;
    const [rows, columns] = shape;
    const start = this.header.colours[low < 0 ? "RdBu_r" : "viridis"];
    const image = new ImageData(columns, rows);
    for (let place = 0; place < rows * columns; place++) {
      const level = Math.round(((Math.min(Math.max(at(place), low), high) - low) / (high - low)) * 255);
      for (let part = 0; part < 3; part++) image.data[4 * place + part] = this.bytes[start + 3 * level + part];
      image.data[4 * place + 3] = 255;
    }
    const small = new OffscreenCanvas(columns, rows);
    small.getContext("2d").putImageData(image, 0, 0);
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(small, 0, 0, canvas.width, canvas.height);
    if (rows * columns > 1) this.mark(context, canvas);
  }

  photograph() {
    const image = this.pictures[this.step];
    if (!image.complete || !image.naturalWidth) return;
    const context = this.frame.getContext("2d");
    context.drawImage(image, 0, 0, this.frame.width, this.frame.height);
    this.mark(context, this.frame);
  }

  mark(context, canvas) {
    const [rows, columns] = this.size();
    const [row, column] = this.pixel();
    const [width, height] = [canvas.width / columns, canvas.height / rows];
    for (const [colour, thick] of [["black", 5], ["white", 2]]) {
      context.strokeStyle = colour;
      context.lineWidth = thick;
      context.strokeRect(column * width, row * height, width, height);
    }
  }

  tell() {
    const name = this.chosen;
    const v = (term) => fixed(this.value(term));
    const [row, column] = this.pixel();
    const [rows, columns] = this.size();
    const { shape } = this.header.terms[name];
    const everywhere = shape[0] * shape[1] === 1;
    const where = everywhere ? "one number for all positions" : `row ${row + 1} of ${rows}, column ${column + 1} of ${columns}`;
    const told = [element("p", { class: "where" }, `${where}:`)];
    const line = (words) => told.push(element("p", {}, words));
    const [of, part] = name.split("_");
    if (part === "before") {
      line(`${v(name)}, as the step before left it`);
      if (this.step === 0) line("Before the first step the state is zero.");
    } else if (part) {
      told.push(...this.sum(of, part));
    } else if (name in GATE_NAMES) {
      told.push(...this.sum("x", name), ...this.sum("h", name));
      const total = this.value(`x_${name}`) + this.value(`h_${name}`);
      line(`${name === "g" ? "tanh" : "σ"}(${v(`x_${name}`)} + ${signed(this.value(`h_${name}`))}) = ` +
        `${name === "g" ? "tanh" : "σ"}(${fixed(total)}) = ${v(name)}`);
    } else if (name === "c") {
      line(`f ∘ C before + i ∘ G = ${v("f")} · ${signed(this.value("c_before"))} + ${v("i")} · ${signed(this.value("g"))}`);
      line(`= ${v("kept")} + ${signed(this.value("written"))} = ${v("c")}`);
    } else if (name === "kept") {
      line(`f · C before = ${v("f")} · ${signed(this.value("c_before"))} = ${v("kept")}`);
    } else if (name === "written") {
      line(`i · G = ${v("i")} · ${signed(this.value("g"))} = ${v("written")}`);
    } else if (name === "tanh") {
      line(`tanh(${v("c")}) = ${v("tanh")}`);
    } else {
      line(`o · tanh C = ${v("o")} · ${signed(this.value("tanh"))} = ${v("h")}`);
    }
    told.push(element("p", { class: "where" }, "Each number is rounded by itself: the last digit of a sum may differ."));
    return told;
  }

  // Contributions of the kernel's window around the pixel, and their sum.
  sum(of, part) {
    const taps = this.header.taps[`${of}_${part}`];
    const value = this.value(`${of}_${part}`);
    const bias = of === "x" ? this.header.biases[part] : 0;
    const given = of === "x" ? "X" : "H before";
    if (!taps) {
      const rest = bias ? ` ${fixed(value - bias)}, and the bias ${fixed(bias)}: ${fixed(value)}` : ` ${fixed(value)}`;
      return [element("p", {}, `weights times the means of all maps of ${given}:${rest}`)];
    }
    const { shape, at } = this.plane(taps);
    const [count, rows, columns] = shape;
    const side = Math.sqrt(count);
    const [row, column] = this.pixel();
    const values = Array.from({ length: count }, (_, n) => at(n * rows * columns + row * columns + column));
    const most = Math.max(...values.map(Math.abs), 1e-9);
    const window = element("table", { class: "window" });
    for (let y = 0; y < side; y++) {
      const line = element("tr", {});
      for (let x = 0; x < side; x++) {
        const each = values[y * side + x];
        const colour = each < 0 ? "33 102 172" : "178 24 43";
        const style = `background:rgb(${colour} / ${((0.55 * Math.abs(each)) / most).toFixed(2)})`;
        line.append(element("td", { style }, fixed(each)));
      }
      window.append(line);
    }
    const sum = values.reduce((a, b) => a + b);
    const words = of === "x" ? `sum ${fixed(sum)}, and the bias ${fixed(bias)}: ${fixed(value)}` : `sum ${fixed(sum)}`;
    const caption = element("p", {}, `What each place of the kernel adds, over all maps of ${given}:`);
    return [caption, window, element("p", {}, words)];
  }
}

function fixed(value) {
  const text = value.toFixed(3);
  return (Number(text) === 0 ? "0.000" : text).replace("-", "−");
}

// In brackets where it is negative and stands behind a sign.
function signed(value) {
  return value < 0 && fixed(value) !== "0.000" ? `(${fixed(value)})` : fixed(value);
}

function plain(name) {
  const names = { c: "cell state", h: "hidden state", c_before: "cell state before", h_before: "hidden state before" };
  Object.assign(names, { kept: "what is kept", written: "what is written", tanh: "tanh of the cell state" });
  const [of, part] = name.split("_");
  return { ...GATE_NAMES, ...names }[name] ?? `${of === "x" ? "input" : "state"}'s part of the ${GATE_NAMES[part]}`;
}

// The symbol as nodes: letters with subscripts.
function symbolOf(name, pooled) {
  const sub = (letter, below) => [letter, element("sub", {}, below)];
  const letters = { i: "i", f: "f", o: "o", g: "G", c: "C", h: "H" };
  const [of, part] = name.split("_");
  if (part === "before") return sub(of.toUpperCase(), "t−1");
  if (name === "kept") return [...sub("f", "t"), " ∘ ", ...sub("C", "t−1")];
  if (name === "written") return [...sub("i", "t"), " ∘ ", ...sub("G", "t")];
  if (name === "tanh") return ["tanh ", ...sub("C", "t")];
  if (!part) return sub(letters[name], "t");
  const gate = part === "g" ? "c" : part;
  const mean = pooled && part !== "g";
  const times = mean ? " " : " ∗ ";
  const given = of === "x" ? sub(mean ? "X̄" : "X", "t") : sub(mean ? "H̄" : "H", "t−1");
  const weights = sub("W", `${of}${gate}`);
  return of === "x" ? [...weights, times, ...given, " + ", ...sub("b", gate)] : [...weights, times, ...given];
}

// Outputs of one page may come from different versions of the code: each has a name of its own.
if (!customElements.get(ELEMENT)) customElements.define(ELEMENT, StepperElement);
