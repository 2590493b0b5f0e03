// All channels of one quantity at a glance, in the chosen order; a click chooses the channel.

const GAP = 1; // of the tiles' own pixels between two of them

class ChannelGrid {
  constructor(view, group) {
    Object.assign(this, { view, group });
    this.panels = group.panels.filter(({ spec }) => spec.reduced.length);
    this.panel = this.panels.at(-1); // the last that a step computes: the hidden state
    const names = this.panels.map(({ spec }) => [spec.name, spec.title]);
    this.quantity = select(names, this.panel.spec.name);
    this.quantity.setAttribute("aria-label", `all channels of, in ${group.spec.title}`);
    this.quantity.addEventListener("input", () => {
      this.panel = this.panels.find(({ spec }) => spec.name === this.quantity.value);
      this.offer();
    });
    this.map = element("canvas", {});
    this.list = element("div", { class: "tiles", role: "listbox" });
    this.list.append(this.map);
    this.list.addEventListener("keydown", (event) => this.#key(event));
    this.bar = new ColourBar();
    this.node = element("figure", { class: "grid", "data-name": "channels" });
    const caption = element("figcaption", {});
    caption.append(element("span", { class: "caption", "data-text": "" }, "all channels of"), this.quantity);
    caption.append(enlarger(this.node, "all channels"));
    this.node.append(caption, this.list, this.bar.node);
    this.offer();
  }

  /** Place a tile for every channel that is here, in the order of the group. */
  offer() {
    const { rows, columns, title } = this.panel.spec;
    this.channels = this.group.offered().filter((channel) => this.group.spec.channels.includes(channel));
    this.across = acrossOf(this.channels.length, rows / columns);
    this.down = Math.ceil(this.channels.length / this.across);
    this.map.width = this.across * (columns + GAP) - GAP;
    this.map.height = this.down * (rows + GAP) - GAP;
    this.pixels = new ImageData(this.map.width, this.map.height);
    this.words = new Uint32Array(this.pixels.data.buffer);
    this.list.style.aspectRatio = `${this.map.width} / ${this.map.height}`;
    this.list.setAttribute("aria-label", `channels of ${title}, ${this.group.spec.title}`);
    this.options = this.channels.map((channel, place) => {
      const option = element("div", { role: "option", "aria-label": `channel ${channel}`, title: `channel ${channel}` });
      option.append(element("span", { "data-text": "" }, String(channel)));
      const [left, top] = [place % this.across, Math.floor(place / this.across)];
      const part = (count, whole) => `${(100 * count) / whole}%`;
      option.style.left = part(left * (columns + GAP), this.map.width);
      option.style.top = part(top * (rows + GAP), this.map.height);
      option.style.width = part(columns, this.map.width);
      option.style.height = part(rows, this.map.height);
      option.addEventListener("click", () => this.#choose(place));
      return option;
    });
    this.list.replaceChildren(this.map, ...this.options);
    this.chosen = this.colours = null;
    this.view.request();
  }

  draw() {
    const { view, panel, group } = this;
    if (this.chosen !== group.channel) {
      this.chosen = group.channel;
      this.options.forEach((option, place) => {
        const own = this.channels[place] === group.channel;
        option.setAttribute("aria-selected", own);
        option.tabIndex = own ? 0 : -1;
      });
      if (!this.channels.includes(group.channel)) this.options[0].tabIndex = 0;
    }
    const { rows, columns, range, signed, unit } = panel.spec;
    const planes = this.channels.map((channel) => panel.planeOf(channel));
    const lookup = view.lookup(signed);
    const key = [lookup.byteOffset, view.limits, planes.length].join();
    if (!this.colours || this.key !== key) {
      this.key = key;
      // The same for all tiles, or they would not compare.
      const whole = [Math.min(...planes.map(({ low }) => low)), Math.max(...planes.map(({ high }) => high))];
      const [low, high] = view.limits === "natural" && range ? range : signed ? symmetric(whole) : whole;
      this.colours = planes.map((plane) => coloursOf(plane, low, high, lookup));
      this.bar.show(lookup, low, high, unit, false);
    }
    for (let place = 0; place < planes.length; place++) {
      const levels = panel.levels(planes[place]);
      const colours = this.colours[place];
      const [left, top] = [(place % this.across) * (columns + GAP), Math.floor(place / this.across) * (rows + GAP)];
      for (let row = 0, from = 0; row < rows; row++) {
        let to = (top + row) * this.map.width + left;
        for (let column = 0; column < columns; column++) this.words[to++] = colours[levels[from++]];
      }
    }
    this.map.getContext("2d").putImageData(this.pixels, 0, 0);
  }

  #choose(place) {
    this.group.chooseLinked(this.channels[place]);
    this.options[place].focus();
  }

  #key(event) {
    const now = this.options.indexOf(event.target);
    const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.across, ArrowDown: this.across, Enter: 0, " ": 0 };
    if (now < 0 || !(event.key in moves) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    if (this.options[now + moves[event.key]]) this.#choose(now + moves[event.key]);
  }
}

/** How many of `count` tiles stand in a row: about as many as in a column, or up to twice that if fewer places stay empty. */
function acrossOf(count, ratio) {
  const least = Math.ceil(Math.sqrt(count * ratio));
  const empty = (across) => Math.ceil(count / across) * across - count;
  const tried = Array.from({ length: Math.ceil(least / 2) + 1 }, (_, more) => least + more);
  return tried.reduce((best, across) => (empty(across) < empty(best) ? across : best));
}
