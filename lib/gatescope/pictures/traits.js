// A scrubber's step, channel and pins, kept the same as a model's: what Python reads, sets and observes.

const SETTLED_MS = 80; // after the last change, so that a drag is not a message for every step

/** Keep the two the same from now on; return a function that ends this. */
function followTraits(model, view) {
  const first = view.groups.find((group) => group.channels);
  const now = () => ({ step: view.step, channel: first ? first.channel : null, pins: view.pins.places });
  const differs = (name, value) => JSON.stringify(model.get(name)) !== JSON.stringify(value);
  let waiting;
  const send = () => {
    waiting = undefined;
    const changed = Object.entries(now()).filter(([name, value]) => differs(name, value));
    for (const [name, value] of changed) model.set(name, value);
    if (changed.length) model.save_changes();
  };
  const settle = () => {
    if (waiting || Object.entries(now()).some(([name, value]) => differs(name, value))) {
      clearTimeout(waiting);
      waiting = setTimeout(send, SETTLED_MS);
    }
  };
  const hear = {
    step: (step) => step !== null && step !== view.step && view.setStep(step),
    channel: (channel) => {
      if (channel === null || channel === first?.channel) return;
      for (const group of view.groups) if (group.channels && group.offered().includes(channel)) group.choose(channel);
      view.request(); // one that no group has is answered with the one shown
    },
    pins: (pins) => pins !== null && differs("pins", view.pins.places) && (view.pins.places = pins),
  };
  const listeners = Object.entries(hear).map(([name, take]) => [`change:${name}`, () => take(model.get(name))]);
  for (const [name, take] of Object.entries(hear)) take(model.get(name));
  for (const [name, listener] of listeners) model.on(name, listener);
  view.onDraw = settle;
  view.request();
  return () => {
    clearTimeout(waiting);
    view.onDraw = null;
    for (const [name, listener] of listeners) model.off(name, listener);
  };
}
