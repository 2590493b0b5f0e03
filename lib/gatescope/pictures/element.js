// The scrubber as an element of a page: what an output or an exported page holds, unpacked where it stands.

class ScrubberElement extends HTMLElement {
  async connectedCallback() {
    this.leaveTheme = followTheme(this);
    keepKeys(this);
    if (this.shadowRoot) return;
    const [header, css, data] = [...this.querySelectorAll("script")].map((script) => script.textContent);
    const root = this.attachShadow({ mode: "open" });
    this.handle = await mount(root, JSON.parse(header), await inflate(data), { css });
    this.setAttribute("data-ready", "");
  }

  disconnectedCallback() {
    this.leaveTheme();
    this.handle?.pause();
  }
}

// Outputs of one page may come from different versions of the code: each has a name of its own.
if (!customElements.get(ELEMENT)) customElements.define(ELEMENT, ScrubberElement);
