// What every element of a page is made with: its data unpacked, its theme, its keys, and its nodes.

/** Decode the text of Packed.deflated: base64, deflate, sums of differences. */
export async function inflate(text) {
  const packed = Uint8Array.from(atob(text.trim()), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  for (let place = 1; place < bytes.length; place++) bytes[place] += bytes[place - 1];
  return bytes;
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
    node.dispatchEvent(new Event("themechange")); // for what is drawn in the theme's colours
  };
  const changes = new MutationObserver(follow);
  changes.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light"] });
  const system = matchMedia("(prefers-color-scheme: dark)");
  system.addEventListener("change", follow);
  follow();
  return () => {
    changes.disconnect();
    system.removeEventListener("change", follow);
  };
}

/** Make an element; text is set as text, so a name from a file holds no markup. */
function element(tag, attributes, text = "") {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text) node.textContent = text;
  return node;
}
