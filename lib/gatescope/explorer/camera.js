// The reader's camera: a countdown, a recording with a live picture, then once again or kept; or why it cannot be.

const COUNTDOWN_S = 3;
const BREAK_S = 2; // between two recordings of a row, in which hands go back
const ROW = 5; // recordings
const LONGEST_S = 3; // of a recording, as long as a gesture takes
const PATIENCE_MS = 5000; // for a kernel's answer
const CAMERA = { video: { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } }, audio: false };
const KINDS = ["video/webm;codecs=vp8", "video/webm", "video/mp4"]; // VP8 is written and read the fastest
const NO_KERNEL = "Python does not answer: run the cell again, or wait until the cells that are running have ended.";
const LATER = "then begin again.";
const REFUSALS = {
  NotAllowedError: `The browser refused the camera: allow it for this page, beside the address, ${LATER}`,
  NotFoundError: `The browser finds no camera: connect one, ${LATER}`,
  NotReadableError: `The camera does not start: end other programs that use it, ${LATER}`,
};

/** Return in one sentence why a page at this place can record nothing; empty where it may. */
function obstacle() {
  const { protocol, hostname } = location;
  const lies = (...ends) => ends.some((end) => `.${hostname}`.endsWith(`.${end}`));
  if (protocol === "vscode-webview:" || lies("vscode-cdn.net", "vscode-webview.net"))
    return "VS Code gives its notebooks no camera: open this one in JupyterLab.";
  if (lies("googleusercontent.com", "colab.research.google.com"))
    return "Colab computes on another machine, so nothing is recorded here: open this notebook in JupyterLab on yours.";
  if (!isSecureContext) return "Browsers open a camera only for a secure page: open JupyterLab at localhost or by https.";
  if (!navigator.mediaDevices || !window.MediaRecorder)
    return "This browser does not record videos: take another, or drop a video of your gesture.";
  // Told only by Chromium; elsewhere the camera is refused.
  if (document.featurePolicy?.allowsFeature("camera") === false)
    return "The page around this one keeps the camera from it: open the notebook in a window of its own.";
  return "";
}

/**
 * Build the panel. `give` takes a recorded file, at once when a recording ends, and with a class if it is to be kept as
 * an example, and promises whether Python took it; `reaches` promises whether Python answers, `fits` whether a class
 * can have a name, and `look` what the network makes of a live frame. Return the panel and a function that ends
 * whatever goes on.
 */
function cameraOf(give, reaches, fits, look) {
  const panel = element("div", { class: "camera", role: "group", "aria-label": "your camera" });
  const [stage, bar] = ["stage", "bar"].map((name) => element("div", { class: name }));
  const picture = element("video", { playsinline: "" });
  picture.muted = picture.loop = true;
  const count = element("span", { class: "count", "aria-hidden": "true" });
  const [words, buttons] = [element("output", { role: "status", "aria-live": "polite" }), element("span", { class: "buttons" })];
  stage.append(picture, count);
  bar.append(buttons, words);
  const [seen, follow] = liveOf();
  const beside = element("div", { class: "beside" });
  beside.append(stage, seen);
  panel.append(bar, beside);
  stage.style.setProperty("--longest", `${LONGEST_S}s`);
  let ending = new AbortController(); // of what goes on
  let number = 0; // of the recording

  const name = element("input", { type: "text", size: 12, maxlength: 60, placeholder: "wave" });
  const named = element("label", { title: "a class: a folder below data/own, in which its clips are kept as files" });
  named.append(element("span", {}, "an example of"), name);
  name.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault(); // the button that gets the keyboard next would hear it too
    named.nextElementSibling.click();
  });
  const button = (text, title, work) => {
    const node = element("button", { type: "button", title }, text);
    node.addEventListener("click", work);
    return node;
  };
  const isNamed = () => {
    if (name.value.trim()) return true;
    words.textContent = "Write the name of the class first.";
    name.focus();
    return false;
  };
  /** Put these in the place of the buttons; the keyboard stays where it was. */
  const offer = (...nodes) => {
    const focused = buttons.contains(panel.getRootNode().activeElement);
    buttons.replaceChildren(...nodes);
    if (focused) nodes[0].focus();
  };
  const cancel = button("Cancel", "close the camera", () => rest());
  /** Offer a button that ends what goes on, before others; return the signal that it or `signal` gives. */
  const offerEnd = (text, title, signal, ...others) => {
    const pressed = new AbortController();
    offer(button(text, title, () => pressed.abort()), ...others);
    return AbortSignal.any([signal, pressed.signal]);
  };
  const show = (source, label, looks = "") => {
    stage.hidden = !source;
    seen.hidden = true;
    stage.className = `stage ${looks}`;
    count.textContent = "";
    picture.setAttribute("aria-label", label);
    URL.revokeObjectURL(picture.src);
    picture.srcObject = source instanceof MediaStream ? source : null;
    const kept = (picture.controls = source instanceof Blob);
    if (kept) picture.src = URL.createObjectURL(source);
    else picture.removeAttribute("src");
    if (!source || (kept && matchMedia("(prefers-reduced-motion: reduce)").matches)) return null;
    return picture.play().catch(() => {}); // a browser may keep videos still
  };
  const rest = (text = "") => {
    ending.abort();
    show(null, "");
    offer(
      button("Record a gesture", `with your camera, ${LONGEST_S} s after a countdown`, begin),
      button("Watch live", "what the network makes of the last frames, while they come", watch),
      named,
      button(`Record ${ROW}`, `examples of a class in a row, ${LONGEST_S} s each, with ${BREAK_S} s between`, row),
    );
    words.textContent = text;
  };
  const begin = () => withCamera(async (stream, signal) => {
    await show(stream, "the camera's picture, as in a mirror", "live");
    const file = await record(stream, signal, COUNTDOWN_S);
    if (!signal.aborted) recorded(file);
  });
  const row = () => isNamed() && withCamera(async (stream, signal) => {
    const about = { class: name.value.trim() };
    if (!(await fits(about.class))) {
      rest("Write another name for the class; why is said below.");
      return name.focus();
    }
    await show(stream, "the camera's picture, as in a mirror", "live");
    let kept = 0;
    for (let place = 1; place <= ROW; place++) {
      const file = await record(stream, signal, place === 1 ? COUNTDOWN_S : BREAK_S, `${place} of ${ROW}: `);
      if (signal.aborted) return;
      if (!file.size) continue; // stopped too early
      if (!(await give(file, about))) return rest("Python did not take the recording; why is said below.");
      kept++;
    }
    rest(`${kept} examples of ${about.class} are recorded: now another class, or train on them.`);
    name.value = "";
    name.focus();
  });
  const watch = () => withCamera(async (stream, signal) => {
    await show(stream, "the camera's picture, as in a mirror", "live");
    seen.hidden = false;
    stream.getTracks()[0].onended = () => rest(`The camera is gone: connect it, ${LATER}`);
    offer(button("Stop", "close the camera", () => rest()));
    words.textContent = "live; nothing is kept";
    const why = await follow(picture, look, signal);
    if (why) rest(why);
  });
  /** Open the camera for some work, and close it afterwards. */
  const withCamera = async (work) => {
    ending.abort();
    const { signal } = (ending = new AbortController());
    offer(cancel);
    words.textContent = "";
    show(null, "");
    const why = obstacle() || ((await reaches(PATIENCE_MS)) ? "" : NO_KERNEL);
    if (signal.aborted) return;
    if (why) return rest(why);
    words.textContent = "The browser may ask whether this page may use the camera.";
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia(CAMERA);
      if (signal.aborted) return;
      await work(stream, signal);
    } catch (error) {
      if (!signal.aborted) rest(REFUSALS[error.name] ?? `The camera does not work: ${error.message}`);
    } finally {
      stream?.getTracks().forEach((track) => track.stop()); // its light goes out
    }
  };
  /** Count down and record until the time is over, the reader stops it, or the camera is gone; `which` of a row. */
  const record = async (stream, signal, wait_s, which = "") => {
    const soon = offerEnd("Now", "record without waiting", signal, cancel);
    for (let left = wait_s; left > 0 && !soon.aborted; left--) {
      count.textContent = left;
      words.textContent = `${which}${left}`;
      await pause(1000, soon);
    }
    count.textContent = "";
    if (signal.aborted) return null;
    const recorder = new MediaRecorder(stream, { mimeType: KINDS.find((kind) => MediaRecorder.isTypeSupported(kind)) });
    const parts = [];
    recorder.addEventListener("dataavailable", ({ data }) => parts.push(data));
    const ended = new Promise((resolve, reject) => {
      recorder.addEventListener("stop", resolve);
      recorder.addEventListener("error", ({ error }) => reject(error));
    });
    recorder.start();
    stage.classList.add("recording");
    const stopped = offerEnd("Stop", "end the recording now", signal, ...(which ? [cancel] : []));
    words.textContent = `${which}recording, ${LONGEST_S} s at most`;
    await Promise.race([pause(1000 * LONGEST_S, stopped), ended]);
    if (recorder.state !== "inactive") recorder.stop();
    await ended;
    stage.classList.remove("recording");
    const kind = recorder.mimeType.startsWith("video/mp4") ? "mp4" : "webm";
    return new File(parts, `gesture ${++number}.${kind}`, { type: recorder.mimeType });
  };
  const recorded = (file) => {
    if (!file.size) return rest("Nothing was recorded: stop a little later.");
    give(file);
    show(file, "your recording, as the camera saw it");
    const save = element("a", { href: picture.src, download: file.name, title: "as a file of yours" }, "Save it");
    const add = button("Add", "keep it as a file, to train on", () => {
      if (!isNamed()) return;
      add.disabled = true; // until another name is written
      words.textContent = `Sent as an example of ${name.value.trim()}.`;
      give(file, { class: name.value });
    });
    name.oninput = () => (add.disabled = false);
    offer(
      button("Again", "drop this recording, and record another", begin),
      button("Keep", "until you leave this page or show another clip", () => rest(`${file.name} is kept until the next clip.`)),
      save,
      named,
      add,
    );
    words.textContent = "Recorded. Python has it in memory; no file of it is kept.";
  };
  rest();
  return [panel, () => rest()];
}

/** Wait, or until told. */
function pause(time, signal) {
  return new Promise((resolve) => {
    const over = () => (clearTimeout(timer), resolve());
    const timer = setTimeout(over, time);
    signal.addEventListener("abort", over, { once: true });
  });
}
