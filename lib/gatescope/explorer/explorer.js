// The widget in the page: the scrubber with data from Python, a reader's own files, and progress in words.

const PIECE = 1 << 20; // bytes of a file to one message: servers close a connection that sends ten times as many
const DESK = `
:host { display: block; font: 13px/1.35 system-ui, sans-serif; color: CanvasText; background: Canvas; padding: 6px 8px; }
.drop { border: 1px dashed color-mix(in srgb, CanvasText 45%, Canvas); border-radius: 4px; padding: 6px 8px; }
.drop, .going { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 12px; }
.over { border-style: solid; border-color: #0072b2; }
.going { min-height: 2em; margin-top: 4px; }
.wrong { color: light-dark(#a40000, #ff9d8a); font-weight: 600; }
label { display: inline-flex; flex-wrap: wrap; align-items: center; gap: 6px; }
input, button { font: inherit; max-width: 100%; box-sizing: border-box; }
label, input { min-width: 0; }
:focus-visible { outline: 2px solid #0072b2; outline-offset: 1px; }
output { overflow-wrap: anywhere; }
::placeholder { color: color-mix(in srgb, CanvasText 70%, Canvas); }
progress { width: 9em; accent-color: #0072b2; }
[hidden] { display: none; }
${CAMERA_CSS}`;

function render({ model, el }) {
  const [desk, host] = [element("div", { class: "gatescope-desk" }), element("div", { class: "gatescope-scrubber" })];
  el.append(desk, host);
  for (const node of [desk, host]) keepKeys(node);
  const leaveThemes = [desk, host].map(followTheme);
  const mine = Math.random(); // every view of the model hears every reply
  const replies = new Map();
  let asked = 0;
  const ask = (message, buffers) =>
    new Promise((resolve) => {
      const id = `${mine}-${asked++}`;
      replies.set(id, resolve);
      model.send({ ...message, id }, undefined, buffers);
    });
  const hear = ({ id }, buffers) => {
    replies.get(id)?.(bytesOf(buffers[0]));
    replies.delete(id);
  };
  const [show, close] = shower(model, host, ask);
  const [say, stop] = deskOf(model, el, desk, ask);
  const listening = [["msg:custom", hear], ["change:picture", show], ["change:says", say]];
  for (const [name, listener] of listening) model.on(name, listener);
  show();
  say();
  return () => {
    for (const [name, listener] of listening) model.off(name, listener);
    for (const end of [...leaveThemes, close, stop]) end();
  };
}

/** Return a function that draws the model's newest picture, and one that ends it. */
function shower(model, host, ask) {
  const root = host.attachShadow({ mode: "open" });
  let [view, shown, drawing, unfollow] = [null, null, Promise.resolve(), null];
  const onChannel = (group, channel) => ask({ what: "channel", number: shown, group, channel });
  const draw = async () => {
    const { number, header, data } = model.get("picture");
    if (number === undefined || number === shown) return;
    shown = number;
    // The scrubber records received channels in the header, and other views share the model's own.
    const own = structuredClone(header);
    unfollow?.();
    view = await (view ? view.replace(own, bytesOf(data)) : mount(root, own, bytesOf(data), { css: CSS, onChannel }));
    unfollow = followTraits(model, view);
    host.setAttribute("data-ready", "");
  };
  // One that failed is reported once, and does not stop the next.
  return [() => (drawing = drawing.catch(() => {}).then(draw)), () => (unfollow?.(), view?.destroy())];
}

/** Build the place to drop files and the line of progress. */
function deskOf(model, el, desk, ask) {
  const root = desk.attachShadow({ mode: "open" });
  const input = element("input", { type: "file", multiple: "", accept: "video/*,image/*,.mkv,.ts,.mts,.flv,.wmv" });
  const label = element("label", { title: "a video, or the pictures of one clip" });
  label.append(element("span", {}, "your own clip"), input);
  const drop = element("div", { class: "drop", role: "group", "aria-label": "your own clip" });
  const most = `at most ${MAX_BYTES / 1e6} MB`;
  const what = `or drop it here: a video, or the pictures of one clip, ${most}`;
  drop.append(label, element("span", {}, what));
  const words = element("output", { role: "status", "aria-live": "polite" });
  const progress = element("progress", { "aria-label": "work under way" });
  const cancel = element("button", { type: "button", title: "stop the work at its next report" }, "Cancel");
  const going = element("div", { class: "going" });
  going.append(progress, cancel, words);
  const reaches = (patience_ms) =>
    Promise.race([ask({ what: "here" }).then(() => true, () => false), new Promise((resolve) => setTimeout(resolve, patience_ms, false))]);
  const look = async (frame, first) => {
    const bytes = await ask({ what: "frame", first }, [frame]);
    return bytes.length ? JSON.parse(new TextDecoder().decode(bytes)) : null;
  };
  const takes = async (message, buffers) => (await ask(message, buffers)).length > 0;
  const fits = (name) => takes({ what: "class", class: name });
  const [camera, close] = cameraOf((file, about) => send([file], about), reaches, fits, look);
  root.append(element("style", {}, DESK), drop, camera, going);
  cancel.addEventListener("click", () => model.send({ what: "cancel" }));
  const send = async (files, about = {}) => {
    const drop = Math.random();
    const sizes = files.map(({ name, size }) => ({ name, size }));
    if (!(await takes({ what: "files", drop, files: sizes, ...about }))) return false;
    for (const [place, file] of files.entries()) {
      for (let start = 0; start < file.size; start += PIECE) {
        const piece = await file.slice(start, start + PIECE).arrayBuffer().catch(() => null);
        if (piece === null) return model.send({ what: "lost", name: file.name });
        if (!(await takes({ what: "piece", drop, place }, [piece]))) return false; // one piece at a time
      }
    }
    return true;
  };
  input.addEventListener("change", () => {
    send([...input.files]);
    input.value = ""; // the same file may be chosen again
  });
  const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
  const over = (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    drop.classList.toggle("over", event.type === "dragover");
  };
  el.addEventListener("dragover", over);
  el.addEventListener("dragleave", over);
  el.addEventListener("drop", (event) => {
    over(event);
    if (holdsFiles(event)) send([...event.dataTransfer.files]);
  });
  const release = keepKeysAround(el);
  const say = () => {
    const says = model.get("says");
    words.textContent = says.words;
    words.classList.toggle("wrong", says.wrong);
    progress.hidden = cancel.hidden = !says.busy;
  };
  return [say, () => (release(), close())];
}

/** Keep JupyterLab's shortcuts away from the controls beside the picture; return a function that ends this. */
function keepKeysAround(el) {
  const mark = ({ target }) => keepKeys(target);
  let box = null;
  // The picture is placed in the page only after it was rendered.
  const placed = new ResizeObserver(() => {
    box ??= el.closest(".gatescope-explorer");
    box?.addEventListener("focusin", mark);
  });
  placed.observe(el);
  return () => {
    placed.disconnect();
    box?.removeEventListener("focusin", mark);
  };
}

/** Bytes of a view without a copy: a message's buffers are parts of one. */
function bytesOf(view) {
  return ArrayBuffer.isView(view) ? new Uint8Array(view.buffer, view.byteOffset, view.byteLength) : new Uint8Array(view);
}

export default { render };
