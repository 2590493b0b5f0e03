// The scrubber as an element of a page: what an output or an exported page holds, unpacked where it stands.

class ScrubberElement extends HTMLElement {
  async connectedCallback() {
    this.theme ??= new MutationObserver(() => this.#followTheme());
    this.theme.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light"] });
    this.#followTheme();
    if (this.shadowRoot) return;
    const [header, css, data] = [...this.querySelectorAll("script")].map((script) => script.textContent);
    const root = this.attachShadow({ mode: "open" });
    this.handle = await mount(root, JSON.parse(header), await inflate(data), { css });
    this.setAttribute("data-ready", "");
  }

  disconnectedCallback() {
    this.theme.disconnect();
    this.handle?.pause();
  }

  /** JupyterLab's theme where there is one, else the reader's own choice of light or dark. */
  #followTheme() {
    const light = document.body.getAttribute("data-jp-theme-light");
    this.style.colorScheme = light === null ? "light dark" : light === "true" ? "light" : "dark";
  }
}

// Outputs of one page may come from different versions of the code: each has a name of its own.
if (!customElements.get(ELEMENT)) customElements.define(ELEMENT, ScrubberElement);
