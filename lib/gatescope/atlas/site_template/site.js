// What the site's pages do beyond HTML: code unfolds together, a viewer plays, paper shows its still picture.

const KEY = "gatescope-code"; // "shown" where the reader unfolded the code

function rememberCode() {
  const label = document.querySelector(".unfold");
  if (!label) return;
  const shown = label.querySelector("input");
  const unfold = () => document.querySelectorAll("details.code").forEach((code) => (code.open = shown.checked));
  shown.checked = stored() === "shown";
  if (shown.checked) unfold();
  shown.addEventListener("change", () => {
    unfold();
    try {
      localStorage.setItem(KEY, shown.checked ? "shown" : "folded");
    } catch {} // a browser may keep nothing
  });
  label.hidden = false;
}

function stored() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

/** The table of contents is open where it stands beside the text, and folds up after a choice elsewhere. */
function contents() {
  const list = document.querySelector(".contents details");
  if (!list) return;
  const wide = matchMedia("(min-width: 80rem)");
  const follow = () => (list.open = wide.matches);
  wide.addEventListener("change", follow);
  follow();
  list.addEventListener("click", (event) => {
    if (event.target.closest("a") && !wide.matches) list.open = false;
  });
}

/**
 * Play a viewer while it is in view, unless the reader wants little motion or a link named its state; the first touch
 * or key leaves it be.
 */
async function play(box) {
  const viewer = box.querySelector(".gatescope-scrubber");
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches || location.hash.includes("scrubber=");
  if (!viewer || still) return;
  await ready(viewer);
  const seen = new IntersectionObserver(([entry]) => (entry.isIntersecting ? viewer.handle.play() : viewer.handle.pause()));
  seen.observe(box);
  for (const touch of ["pointerdown", "keydown"]) box.addEventListener(touch, () => seen.disconnect(), { once: true });
}

/** Resolve when a viewer has unpacked itself. */
function ready(viewer) {
  return new Promise((resolve) => {
    const check = () => viewer.hasAttribute("data-ready") && (changes.disconnect(), resolve());
    const changes = new MutationObserver(check);
    changes.observe(viewer, { attributes: true });
    check();
  });
}

/** Put a viewer's film strip beside it, for paper: a page that is printed cannot be played. */
async function still(viewer) {
  const picture = viewer.querySelector(":scope > img");
  if (!picture) return;
  await ready(viewer);
  const copy = picture.cloneNode();
  copy.className = "still";
  copy.removeAttribute("style");
  viewer.after(copy);
}

/** Keep a meaning below its term and inside the column; Escape takes it away. */
function place(term) {
  const column = term.closest("section, div, aside");
  const meaning = term.querySelector(".meaning");
  term.classList.remove("away");
  const [at, around] = [term.getClientRects()[0], column.getBoundingClientRect()];
  const room = around.width - meaning.offsetWidth;
  meaning.style.left = `${Math.max(0, Math.min(at.left - around.left, room))}px`;
}

rememberCode();
contents();
for (const line of document.querySelectorAll(".to-viewer")) line.hidden = false;
document.querySelectorAll("[data-plays]").forEach(play);
document.querySelectorAll(".gatescope-scrubber, .gatescope-stepper").forEach(still);
for (const come of ["pointerover", "focusin"]) {
  document.addEventListener(come, ({ target }) => target.closest?.(".term") && place(target.closest(".term")));
}
document.addEventListener("keydown", ({ key }) => {
  if (key === "Escape") document.querySelectorAll(".term").forEach((term) => term.classList.add("away"));
});
