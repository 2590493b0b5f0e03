// What a network makes of the last frames before the camera, while they come.

const LIVE_SIDE_PX = 128; // px of a frame that is sent: its middle square
const [BARS, LINE_HIGH] = [120, 24];

/** Build the panel's live part: `take` a video, send its frames to `look` one at a time until `signal`, and show. */
function liveOf() {
  const shown = element("div", { class: "seen" });
  const scores = element("div", { class: "scores", role: "img" });
  const maps = element("div", { class: "maps" });
  const words = element("p", { class: "latency" });
  shown.append(scores, maps, words);
  const canvas = element("canvas", { width: LIVE_SIDE_PX, height: LIVE_SIDE_PX });
  const context = canvas.getContext("2d");

  const frameOf = async (video) => {
    const side = Math.min(video.videoWidth, video.videoHeight);
    const [left, top] = [(video.videoWidth - side) / 2, (video.videoHeight - side) / 2];
    context.drawImage(video, left, top, side, side, 0, 0, LIVE_SIDE_PX, LIVE_SIDE_PX);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.9));
    return blob.arrayBuffer();
  };
  const show = ({ frames, of, classes, maps: planes, pass_ms }, latency_ms, rate) => {
    scores.replaceChildren(...classes.map(([name, course]) => scoreOf(name, course)));
    scores.setAttribute("aria-label", classes.map(([name, course]) => `${name} ${percent(course.at(-1))}`).join(", "));
    maps.replaceChildren(...planes.map(mapOf));
    const window = frames < of ? `${frames} of ${of} frames so far` : `the last ${of} frames`;
    words.textContent = `${window}; ${latency_ms.toFixed(0)} ms from a frame to its scores, of which Python took ${pass_ms.toFixed(0)}; ${rate.toFixed(1)} a second`;
  };
  /** Go on until told to end, or until nobody answers: then why. */
  const follow = async (video, look, signal) => {
    let before = performance.now();
    for (let first = true; !signal.aborted; first = false) {
      const taken = performance.now();
      const seen = await Promise.race([look(await frameOf(video), first), pause(2 * PATIENCE_MS, signal)]);
      if (signal.aborted) return "";
      if (seen === undefined) return NO_KERNEL;
      if (seen === null) return "The network did not take the picture; why is said below.";
      const now = performance.now();
      show(seen, now - taken, 1000 / Math.max(now - before, 1));
      before = now;
      await pause(Math.max(1000 / seen.rate - (now - taken), 0), signal);
    }
    return "";
  };
  return [shown, follow];
}

const percent = (part) => `${(100 * part).toFixed(0)} %`;

/** A class's name, its score now, and the course of the score over the window's steps. */
function scoreOf(name, course) {
  const row = element("div", { class: "score" });
  const points = course.map((part, step) => `${(BARS * step) / Math.max(course.length - 1, 1)},${LINE_HIGH * (1 - part)}`);
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", `0 -1 ${BARS} ${LINE_HIGH + 2}`);
  const line = svg.appendChild(document.createElementNS(space, "polyline"));
  line.setAttribute("points", points.join(" "));
  row.append(svg, element("span", {}, `${percent(course.at(-1))} ${name}`));
  return row;
}

/** A map in grey, enlarged, with what it is. */
function mapOf({ title, levels }) {
  const figure = element("figure", {});
  const canvas = element("canvas", { width: levels[0].length, height: levels.length, role: "img", "aria-label": title });
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  levels.flat().forEach((level, place) => image.data.set([level, level, level, 255], 4 * place));
  context.putImageData(image, 0, 0);
  figure.append(canvas, element("figcaption", {}, title));
  return figure;
}
