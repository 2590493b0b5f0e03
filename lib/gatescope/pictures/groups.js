// Groups of panels that share the chosen channel, one for each layer or variant.

/** Panels that share the chosen channel, with gates of one value per channel and the scores over time. */
class Group {
  constructor(view, spec, place) {
    Object.assign(this, { view, spec, place });
    this.order = spec.orders[0][0];
    this.channel = this.offered()[0]; // that is shown
    this.chosen = null; // by the reader, where it is not the first of an order
    this.panels = spec.panels.map((panel) => new Panel(view, this, panel));
    this.strips = spec.strips.map((strip) => new Strip(view, this, strip));
    this.curve = spec.scores && new Curve(view, spec.scores);
    this.row = element("div", { class: "panels" });
    const ordered = [...this.panels, ...this.strips].sort((one, other) => one.spec.place - other.spec.place);
    this.row.append(...ordered.map((panel) => panel.node));
    this.node = element("section", { class: "group", "data-group": spec.title, "aria-label": spec.title });
    this.node.append(this.#heading(), this.row);
    this.grid = this.channels && this.panels.length ? new ChannelGrid(view, this) : null;
    if (this.grid) this.row.append(this.grid.node);
    if (this.curve) this.row.append(this.curve.node);
  }

  /** The channels one can choose, in the chosen order. */
  offered() {
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
      this.chooseLinked(Number(this.channels.value));
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
    this.channels.replaceChildren(...this.offered().map((each) => new Option(each, each)));
    this.channels.value = this.channel;
  }

  /** This group, and those that show the same channels with or without a replacement. */
  #linked() {
    const { link } = this.spec;
    return this.view.groups.filter((group) => group === this || (link && group.spec.link === link));
  }

  /** Show a channel here and in the groups that follow this one. */
  chooseLinked(channel) {
    for (const group of this.#linked()) group.choose(channel);
  }

  /** Keep the choices made in an earlier recording's group, where they still exist. */
  follow(earlier) {
    if (!earlier || this.spec.numChannels < 2) return;
    if (this.spec.orders.some(([name]) => name === earlier.order)) this.#orderBy(earlier.order);
    if (this.offered().includes(earlier.chosen)) this.choose(earlier.chosen);
  }

  #orderBy(name) {
    this.order = this.orders.value = name;
    const [first] = this.offered();
    this.#offer();
    this.grid?.offer();
    this.choose(first);
    this.chosen = null;
  }

  async choose(channel) {
    const { spec, view } = this;
    this.chosen = this.awaited = channel;
    this.channels.value = channel;
    if (!spec.channels.includes(channel)) {
      const bytes = await view.onChannel(this.place, channel);
      if (!spec.channels.includes(channel)) {
        let place = 0;
        for (const panel of this.panels) place = panel.take(bytes, place);
        spec.channels.push(channel);
        this.grid.offer();
      }
      if (this.awaited !== channel) return; // another was chosen meanwhile
    }
    this.channel = channel;
    view.request();
  }
}

