// What leaves the scrubber: pictures, the values at pins as CSV, all values as npz, and its state as a text.

/** The buttons that save; a link only where the page has an address that can hold it. */
function savers(view, onLink) {
  const bar = element("div", { class: "bar savers", role: "group", "aria-label": "save" });
  const name = view.header.title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 60) || "scrubber";
  const save = (words, help, ending, make) =>
    buttonOf(words, help, async () => {
      const blob = await make();
      if (blob) download(blob, `${name}.${ending}`);
    });
  bar.append(
    save("Save PNG", "the panels as a picture, with clip, step, channels and limits", "png", () => pngOf(view)),
    save("WebP of all steps", "a moving picture of the panels", "webp", () => movingOf(view)),
    save("CSV of pins", "values at the pinned places, a line for each step", "csv", () => csvOf(view)),
    save("npz", "all values kept here, for numpy.load; to 1/255 of each channel's range", "npz", () => npzOf(view)),
  );
  if (onLink) {
    const link = async () => view.say(await onLink(stateOf(view).toString()));
    bar.append(buttonOf("Link", "an address that opens this step, these channels, pins and limits", link));
  }
  return bar;
}

function download(blob, name) {
  const link = element("a", { download: name, href: URL.createObjectURL(blob) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

const figuresOf = (view) => [...view.node.querySelectorAll("figure")];

/** Step, pins, channels, limits and enlarged pictures, as the parameters of an address. */
function stateOf(view) {
  const { groups, pins, limits, shown } = view;
  const many = groups.filter((group) => group.channels);
  return new URLSearchParams({
    step: view.step + 1,
    pins: pins.places.map((place) => place.join(",")).join(" "),
    channels: many.map((group) => group.channel).join(","),
    orders: many.map((group) => group.order).join(","),
    limits,
    shown,
    large: figuresOf(view).flatMap((figure, place) => (figure.matches(".large") ? [place] : [])).join(","),
  });
}

/** Go to a state that `stateOf` told; what does not fit this recording stays as it is. */
function restore(view, state) {
  const step = Number(state.get("step"));
  if (Number.isInteger(step) && step > 0) view.setStep(step - 1);
  for (const name of ["limits", "shown"]) {
    if ([...view.controls[name].options].some(({ value }) => value === state.get(name))) view.choose(name, state.get(name));
  }
  const orders = (state.get("orders") ?? "").split(",");
  const channels = (state.get("channels") || "none").split(",").map(Number);
  view.groups.filter((group) => group.channels).forEach((group, place) => {
    group.follow({ order: orders[place], chosen: channels[place] });
  });
  const places = (state.get("pins") ?? "").split(" ").map((place) => place.split(",").map(Number));
  view.pins.places = places.filter((place) => place.length === 2 && place.every((part) => part >= 0 && part <= 1));
  const large = (state.get("large") ?? "").split(",");
  figuresOf(view).forEach((figure, place) => {
    if (figure.matches(".large") !== large.includes(String(place))) figure.querySelector(".enlarge")?.click();
  });
}

/** What a picture of the panels does not say by itself, in lines. */
function legendOf(view) {
  const { header, controls } = view;
  const said = (control) => control.selectedOptions[0].textContent;
  const channels = view.groups
    .filter((group) => group.channels)
    .map((group) => `${group.spec.title}: channel ${group.channel}, ordered by ${group.order}`);
  return [
    [header.title || header.clip, view.timeline.words()].filter(Boolean).join(" · "),
    `${said(controls.shown)} · limits: ${said(controls.limits)} · colours: ${said(controls.colours)}`,
    ...channels,
  ];
}

/** Draw every canvas, cursor and text of the panels below the legend; return the canvas. */
function pictureOf(view, scale) {
  const { node } = view;
  node.classList.add("saving"); // without controls, and nothing over anything
  const lines = legendOf(view);
  const box = node.getBoundingClientRect();
  const own = getComputedStyle(node);
  const [margin, line] = [8, 17];
  const legend = margin + line * lines.length;
  const canvas = element("canvas", { width: Math.round(scale * box.width), height: Math.round(scale * (box.height + legend)) });
  const context = canvas.getContext("2d", { alpha: false });
  context.scale(scale, scale);
  context.fillStyle = own.backgroundColor;
  context.fillRect(0, 0, box.width, box.height + legend);
  context.fillStyle = own.color;
  context.textBaseline = "middle";
  lines.forEach((words, place) => {
    context.font = `${place ? "" : "600 "}13px system-ui, sans-serif`;
    context.fillText(words, margin, margin + line * (place + 0.5), box.width - 2 * margin);
  });
  context.translate(-box.left, legend - box.top);
  for (const each of node.querySelectorAll("canvas, figcaption select, [data-text]")) {
    const { left, top, width, height } = each.getBoundingClientRect();
    const style = getComputedStyle(each);
    context.globalAlpha = style.opacity;
    if (!width || !height) continue;
    if (each.matches("canvas")) {
      context.imageSmoothingEnabled = style.imageRendering !== "pixelated";
      if (each.width && each.height) context.drawImage(each, left, top, width, height);
      continue;
    }
    const isWord = !each.matches("select");
    if (isWord && style.backgroundColor !== "rgba(0, 0, 0, 0)") {
      context.fillStyle = style.backgroundColor;
      context.fillRect(left, top, width, height);
    }
    context.fillStyle = style.color;
    context.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`; // style.font is empty beside tabular digits
    context.textBaseline = "middle";
    context.textAlign = { right: "right", end: "right", center: "center" }[style.textAlign] ?? "left";
    const at = left + { right: width, center: width / 2, left: 0 }[context.textAlign];
    const words = isWord ? each.textContent : each.selectedOptions[0].textContent;
    context.fillText(words, at, top + height / 2, width);
  }
  node.classList.remove("saving");
  return canvas;
}

const blobOf = (canvas, type, quality) => new Promise((done) => canvas.toBlob(done, type, quality));

function pngOf(view) {
  view.drawAll();
  return blobOf(pictureOf(view, 2), "image/png");
}

/** Every step as an animated WebP: the browser's own pictures, one after another in a RIFF file. */
async function movingOf(view) {
  const { step } = view;
  const pieces = [];
  let size = null;
  view.pause();
  for (let each = 0; each < view.header.steps; each++) {
    view.setStep(each);
    view.drawAll();
    const canvas = pictureOf(view, 1);
    size ??= [canvas.width, canvas.height];
    const blob = await blobOf(canvas, "image/webp", 0.9);
    if (blob.type !== "image/webp") {
      view.setStep(step);
      return view.say("This browser writes no WebP; Chromium and Firefox do.");
    }
    const frame = [...u24(0), ...u24(0), ...u24(canvas.width - 1), ...u24(canvas.height - 1)];
    const duration = Math.round(1000 / (view.timeline.speed * view.timeline.real));
    pieces.push(riffChunk("ANMF", [Uint8Array.from([...frame, ...u24(duration), 2]), ...stillChunks(new Uint8Array(await blob.arrayBuffer()))]));
  }
  view.setStep(step);
  const head = Uint8Array.from([2, 0, 0, 0, ...u24(size[0] - 1), ...u24(size[1] - 1)]); // animated
  const all = [riffChunk("VP8X", [head]), riffChunk("ANIM", [Uint8Array.from([255, 255, 255, 255, 0, 0])]), ...pieces];
  return new Blob([riffChunk("RIFF", [new TextEncoder().encode("WEBP"), ...all])], { type: "image/webp" });
}

const u24 = (value) => [value & 255, (value >> 8) & 255, (value >> 16) & 255];

/** Join parts after their name and length, to an even number of bytes. */
function riffChunk(name, parts) {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const bytes = new Uint8Array(8 + length + (length % 2));
  bytes.set(new TextEncoder().encode(name));
  new DataView(bytes.buffer).setUint32(4, length, true);
  let place = 8;
  for (const part of parts) (bytes.set(part, place), (place += part.length));
  return bytes;
}

/** The chunks of a WebP file that hold its pixels. */
function stillChunks(bytes) {
  const view = new DataView(bytes.buffer);
  const found = [];
  for (let place = 12; place + 8 <= bytes.length; ) {
    const end = place + 8 + view.getUint32(place + 4, true);
    const whole = end + (end % 2);
    if (/^(ALPH|VP8 |VP8L)$/.test(String.fromCharCode(...bytes.subarray(place, place + 4)))) found.push(bytes.slice(place, whole));
    place = whole;
  }
  return found;
}

/** The values of every map and chosen channel at every pin, and whether the hand covers it. */
function csvOf(view) {
  const { header, pins } = view;
  if (!pins.all.length) return view.say("No place is pinned: click a map first.");
  const quoted = (words) => `"${String(words).replaceAll('"', '""')}"`;
  // A pin's place in the frame, as the list of pins has it, and the place of the map that the value is of.
  const lines = ["clip,pin,frame_row,frame_column,group,quantity,shown,map_row,map_column,step,seconds,hand,value"];
  for (const { number: pin, x, y } of pins.all) {
    for (const panel of view.panels.filter(({ group }) => group)) {
      const { rows, columns, name } = panel.spec;
      const place = [quoted(header.clip), pin, cellAt(y, header.height), cellAt(x, header.width)];
      const where = [...place, quoted(panel.group.spec.title), quoted(name), quoted(panel.which())];
      panel.valuesAt(panel.plane(), x, y).forEach((value, step) => {
        const seconds = header.fps ? (((step + 1) * header.framesPerStep) / header.fps).toFixed(4) : "";
        const hand = header.hand === null ? "" : Number(view.handCovers(step, x, y));
        lines.push([...where, cellAt(y, rows), cellAt(x, columns), step + 1, seconds, hand, value.toPrecision(6)].join());
      });
    }
  }
  return new Blob([lines.join("\n"), "\n"], { type: "text/csv" });
}

/** All values that are here as an uncompressed npz: maps (step, channel, row, column), gates (step, channel), scores. */
function npzOf(view) {
  const { steps } = view.header;
  const files = [];
  for (const { spec, panels, strips, curve } of view.groups) {
    const folder = view.groups.length > 1 ? `${spec.title}/` : "";
    for (const panel of panels) {
      const { rows, columns, planes, name } = panel.spec;
      const [size, values] = [rows * columns, new Float32Array(steps * planes.length * rows * columns)];
      planes.forEach((plane, place) => {
        const from = plane.bytes ?? view.bytes;
        for (let step = 0; step < steps; step++) {
          for (let each = 0; each < size; each++) {
            const level = from[plane.offset + step * size + each];
            values[(step * planes.length + place) * size + each] = valueOf(plane, level);
          }
        }
      });
      files.push([`${folder}${name}`, npyOf(values, [steps, planes.length, rows, columns])]);
    }
    for (const strip of strips) {
      const { channels, name } = strip.spec;
      const values = new Float32Array(steps * channels);
      for (let channel = 0; channel < channels; channel++) {
        strip.values(channel).forEach((value, step) => (values[step * channels + channel] = value));
      }
      files.push([`${folder}${name}`, npyOf(values, [steps, channels])]);
    }
    if (curve) files.push([`${folder}scores`, npyOf(curve.values, [steps, curve.spec.names.length])]);
    if (spec.numChannels > 1) files.push([`${folder}channels`, npyOf(Int32Array.from(spec.channels), [spec.channels.length])]);
  }
  return zipOf(files.map(([name, bytes]) => [`${name}.npy`, bytes]));
}

/** An array as the file that numpy.save writes (format 1.0). */
function npyOf(values, shape) {
  const kind = values instanceof Float32Array ? "<f4" : "<i4";
  const said = `{'descr': '${kind}', 'fortran_order': False, 'shape': (${shape.join(", ")},), }`;
  const header = said.padEnd(Math.ceil((said.length + 11) / 64) * 64 - 11) + "\n";
  const bytes = new Uint8Array(10 + header.length + values.byteLength);
  bytes.set([0x93, ...new TextEncoder().encode("NUMPY"), 1, 0, header.length & 255, header.length >> 8]);
  bytes.set(new TextEncoder().encode(header), 10);
  bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), 10 + header.length);
  return bytes;
}

/** Files, each a name and bytes, as a zip without compression. */
function zipOf(files) {
  const [locals, directory] = [[], []];
  let offset = 0;
  for (const [name, bytes] of files) {
    const path = new TextEncoder().encode(name);
    const local = new DataView(new ArrayBuffer(30));
    const entry = new DataView(new ArrayBuffer(46));
    local.setUint32(0, 0x04034b50, true);
    entry.setUint32(0, 0x02014b50, true);
    entry.setUint16(4, 20, true);
    for (const [header, at] of [[local, 4], [entry, 6]]) {
      header.setUint16(at, 20, true); // the version needed
      header.setUint16(at + 2, 0x0800, true); // names are UTF-8
      header.setUint16(at + 8, 0x21, true); // 1 January 1980: the same values make the same file
      header.setUint16(at + 6, 0, true);
      header.setUint32(at + 10, crc32(bytes), true);
      header.setUint32(at + 14, bytes.length, true);
      header.setUint32(at + 18, bytes.length, true);
      header.setUint16(at + 22, path.length, true);
    }
    entry.setUint32(42, offset, true);
    locals.push(local, path, bytes);
    directory.push(entry, path);
    offset += 30 + path.length + bytes.length;
  }
  const length = directory.reduce((sum, part) => sum + part.byteLength, 0);
  const end = new DataView(new ArrayBuffer(22));
  end.setUint32(0, 0x06054b50, true);
  end.setUint16(8, files.length, true);
  end.setUint16(10, files.length, true);
  end.setUint32(12, length, true);
  end.setUint32(16, offset, true);
  return new Blob([...locals, ...directory, end], { type: "application/zip" });
}

function crc32(bytes) {
  const table = Uint32Array.from({ length: 256 }, (_, value) => {
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
    return value;
  });
  let sum = 0xffffffff;
  for (const byte of bytes) sum = (sum >>> 8) ^ table[(sum ^ byte) & 255];
  return (sum ^ 0xffffffff) >>> 0;
}
