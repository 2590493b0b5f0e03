// The scrubber as an element of a page: what an output or an exported page holds, unpacked where it stands.

/**
 * Where one of several is seen, chosen by buttons, give it the step, channel and pins of what was seen before. The
 * buttons stay in view, above the timeline.
 */
function carryOver(section) {
  const buttons = section.querySelector("fieldset");
  new ResizeObserver(() => section.style.setProperty("--above", `${buttons.offsetHeight}px`)).observe(buttons);
  const seen = () => [...section.querySelectorAll(".gatescope-scrubber")].find((each) => each.checkVisibility());
  let before = seen();
  section.addEventListener("change", () => {
    const [from, to] = [before, seen()];
    if (from === to) return;
    from?.handle?.pause();
    if (from && to) to.state = from.state;
    before = to;
  });
}

class ScrubberElement extends HTMLElement {
  async connectedCallback() {
    this.leaveTheme = followTheme(this);
    keepKeys(this);
    addEventListener("hashchange", (this.restored = () => this.restore()));
    if (this.shadowRoot) return;
    const section = this.closest("section.gatescope-switch");
    if (section && section.querySelector(".gatescope-scrubber") === this) carryOver(section);
    const [header, css, data] = [...this.querySelectorAll("script")].map((script) => script.textContent);
    const root = this.attachShadow({ mode: "open" });
    // JupyterLab's address is its own.
    const onLink = document.body.hasAttribute("data-jp-theme-light") ? null : (state) => this.link(state);
    this.handle = await mount(root, JSON.parse(header), await inflate(data), { css, onLink });
    this.restore();
    this.setAttribute("data-ready", "");
  }

  disconnectedCallback() {
    this.leaveTheme();
    removeEventListener("hashchange", this.restored);
    this.handle?.pause();
  }

  /** The number of this scrubber on its page, from 1. */
  get number() {
    return 1 + [...document.querySelectorAll(".gatescope-scrubber")].indexOf(this);
  }

  /** Step, channels, pins and limits as a text that another scrubber of the same clip takes. */
  get state() {
    return this.handle && stateOf(this.handle).toString();
  }

  set state(text) {
    if (this.handle && text) restore(this.handle, new URLSearchParams(text));
  }

  /** Put a state into the page's address and on the clipboard. */
  async link(state) {
    history.replaceState(null, "", `#scrubber=${this.number}&${state}`);
    const copied = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
    return copied ? "The link is on the clipboard and in the address bar." : "The link stands in the address bar.";
  }

  /** Go to the state in the page's address, if it is this scrubber's. */
  restore() {
    const state = new URLSearchParams(location.hash.slice(1));
    if (!this.handle || Number(state.get("scrubber")) !== this.number) return;
    restore(this.handle, state);
    this.scrollIntoView();
  }
}

// Outputs of one page may come from different versions of the code: each has a name of its own.
if (!customElements.get(ELEMENT)) customElements.define(ELEMENT, ScrubberElement);
