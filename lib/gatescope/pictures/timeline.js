// The timeline: the frames as a slider, Play, the time in steps, frames and seconds; it stays in view.

const SPEEDS = [["1", "real"], ["0.5", "half"], ["0.25", "quarter"]];
const STEPS_PER_S = 4; // where a clip's own speed is not known
const THUMB_PX = 16; // of the range input in scrubber.css

class Timeline {
  constructor(view) {
    this.view = view;
    const { steps, fps, framesPerStep } = view.header;
    this.real = fps ? fps / framesPerStep : STEPS_PER_S;
    this.speed = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0.25 : 1;
    this.playing = null;
    this.slider = element("input", { type: "range", min: 0, max: steps - 1, value: 0, step: 1, "aria-label": "time step" });
    this.slider.title = "arrow keys, Home and End; , and . anywhere in the scrubber";
    this.slider.addEventListener("input", () => view.goTo(this.slider.valueAsNumber));
    this.button = buttonOf("Play", "space or k", () => (this.playing === null ? this.play() : this.pause()));
    this.button.className = "play";
    this.readout = element("output", { class: "readout", "aria-live": "polite", "data-text": "" });
    this.speeds = select(SPEEDS, String(this.speed));
    this.canvas = element("canvas", {});
    this.cursor = element("canvas", {});
    this.film = element("div", { class: "film" });
    // The thumb's middle stands at the middle of its step's frame.
    this.slider.style.left = `calc(${50 / steps}% - ${THUMB_PX / 2}px)`;
    this.slider.style.width = `calc(${(100 * (steps - 1)) / steps}% + ${THUMB_PX}px)`;
    this.film.append(this.canvas, this.cursor, this.slider);
    this.film.addEventListener("click", () => this.slider.focus());
    scrubBy(view, this.film);
    view.watch(this.film);
    const words = element("div", { class: "bar" });
    const pace = fps ? `of the clip's ${number(fps, fps)} frames per second` : `of ${STEPS_PER_S} steps per second`;
    words.append(this.button, this.readout, labelled("speed", this.speeds, pace));
    this.bar = words;
    this.node = element("div", { class: "timeline" });
    this.node.append(words, this.film);
    this.shift = 0;
    this.scrolled = () => (this.sticking ??= requestAnimationFrame(() => this.#stick()));
    addEventListener("scroll", this.scrolled, { capture: true, passive: true });
  }

  play() {
    if (this.playing !== null) return;
    const next = () => this.view.setStep((this.view.step + 1) % this.view.header.steps);
    this.playing = setInterval(next, 1000 / (this.speed * this.real));
    this.#sayPlaying();
  }

  pause() {
    clearInterval(this.playing);
    this.playing = null;
    this.#sayPlaying();
  }

  setSpeed(speed) {
    this.speed = speed;
    if (this.playing !== null) (this.pause(), this.play());
  }

  destroy() {
    this.pause();
    removeEventListener("scroll", this.scrolled, { capture: true });
  }

  /** The time at the view's step. */
  words() {
    const { framesPerStep, steps, fps } = this.view.header;
    const { step, frames } = this.view;
    const words = `step ${step + 1} of ${steps}`;
    if (!frames.length) return words;
    const last = (step + 1) * framesPerStep;
    const those = framesPerStep > 1 ? `frames ${last - framesPerStep + 1} to ${last}` : `frame ${last}`;
    return `${words}, ${those}, ${(last / fps).toFixed(2)} s`;
  }

  draw() {
    const { view } = this;
    const box = view.sizes.get(this.film);
    const cursor = sized(this.cursor, box);
    if (!cursor) return;
    this.#drawCursor(cursor);
    const drawn = [box.width, box.height, view.ink].join();
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    this.#drawFilm(sized(this.canvas, box));
  }

  say() {
    const words = this.words();
    if (this.readout.value !== words) this.readout.value = words;
    this.slider.setAttribute("aria-valuetext", words);
  }

  #drawCursor(context) {
    const { step, header, paper } = this.view;
    const { width, height } = context.canvas;
    const [wide, unit] = [width / header.steps, devicePixelRatio];
    context.clearRect(0, 0, width, height);
    context.beginPath();
    context.roundRect(step * wide + 2 * unit, 2 * unit, wide - 4 * unit, height - 4 * unit, 2 * unit);
    for (const [colour, line] of [[paper, 5], ["#d55e00", 3]]) {
      context.strokeStyle = colour;
      context.lineWidth = line * unit;
      context.stroke();
    }
  }

  /** As many frames as have room, each over the steps that it stands for; without frames the steps' numbers. */
  #drawFilm(context) {
    const { frames, header, ink } = this.view;
    const { steps, width, height } = header;
    const [wide, tall] = [context.canvas.width, context.canvas.height];
    const least = frames.length ? (0.75 * tall * width) / height : 28 * devicePixelRatio;
    const every = Math.max(1, Math.ceil((least * steps) / wide));
    context.clearRect(0, 0, wide, tall);
    context.fillStyle = ink;
    context.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (let step = 0; step < steps; step += every) {
      const [left, right] = [step, Math.min(step + every, steps)].map((each) => (each * wide) / steps);
      const middle = (step + Math.min(step + every, steps) - 1) >> 1;
      if (!frames.length) {
        context.fillText(middle + 1, ((middle + 0.5) * wide) / steps, tall / 2);
        continue;
      }
      // As much of the frame's middle as the place is wide.
      const room = right - left - devicePixelRatio;
      const shown = Math.min(width, (room * height) / tall);
      const drawn = (shown * tall) / height;
      const at = left + (room - drawn) / 2;
      context.drawImage(frames[middle], (width - shown) / 2, 0, shown, height, at, 0, drawn, tall);
    }
  }

  /** Move down where `position: sticky` cannot: an output of JupyterLab is a scroller that never scrolls. */
  #stick() {
    this.sticking = undefined;
    const [own, all] = [this.node, this.view.node].map((node) => node.getBoundingClientRect());
    const top = own.top - this.shift;
    const room = Math.max(0, all.bottom - top - own.height - THUMB_PX);
    const shift = within(topInView(this.view.node) - top, 0, room);
    if (Math.abs(shift - this.shift) < 0.5) return;
    this.shift = shift;
    this.node.style.transform = shift ? `translateY(${shift}px)` : "";
  }

  #sayPlaying() {
    const playing = this.playing !== null;
    this.button.textContent = playing ? "Pause" : "Play";
    // A screen reader would read out every step.
    this.readout.setAttribute("aria-live", playing ? "off" : "polite");
  }
}

/** The upper edge of what can be seen through a node's scrollers. */
function topInView(node) {
  let top = 0;
  for (let each = node; each; each = outwards(each)) {
    const scrolls = each.scrollHeight > each.clientHeight + 1 && each !== document.documentElement;
    if (scrolls && /auto|scroll/.test(getComputedStyle(each).overflowY)) top = Math.max(top, each.getBoundingClientRect().top);
  }
  return top;
}

/** The element around one, also out of a shadow root. */
function outwards(node) {
  return node.parentElement ?? node.getRootNode().host;
}
