"""The ES module in a page of its own: a stub is the widget's model, no Jupyter and no kernel."""

import base64

from freezeviz.widgets._assets import script, style

# Records what the view sends, hands traits out the way ipywidgets does (Bytes as DataView), and
# lets a test play the kernel: `kernel.set({...})`, `kernel.message({...})`, `kernel.comeOrGo()`.
_STUB = """
async ([source, css, traits, width, connected]) => {
  const url = URL.createObjectURL(new Blob([source], {type: "text/javascript"}));
  const module = await import(url);
  window.module = module;
  if (!document.getElementById("explorer-css")) {
    const style = document.createElement("style");
    style.id = "explorer-css";
    style.textContent = css;
    document.head.append(style);
  }
  const bytes = (value) => new DataView(Uint8Array.from(value).buffer);
  const revive = (value) => {
    if (Array.isArray(value)) return value.map(revive);
    if (value === null || typeof value !== "object" || ArrayBuffer.isView(value)) return value;
    if ("$bytes" in value) return bytes([...atob(value.$bytes)].map((c) => c.charCodeAt(0)));
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, revive(item)]));
  };
  const data = revive(traits);
  const handlers = {};
  const fire = (event, ...args) => (handlers[event] ?? []).slice().forEach((f) => f(...args));
  window.sent = [];
  window.kernel = {
    handlers,
    set(changes) {
      for (const [name, value] of Object.entries(changes)) data[name] = revive(value);
      for (const name of Object.keys(changes)) fire(`change:${name}`);
    },
    message: (message, buffers = []) => fire("msg:custom", message, buffers.map(revive)),
    comeOrGo: () => fire("comm_live_update"),
  };
  const model = {
    get: (name) => data[name],
    send: (message) => { structuredClone(message); window.sent.push(message); },
    on: (event, f) => { (handlers[event] ??= []).push(f); },
    off: (event, f) => { handlers[event] = (handlers[event] ?? []).filter((g) => g !== f); },
  };
  const host = document.createElement("div");
  if (width) host.style.width = `${width}px`;
  if (!connected) host.classList.add("jupyter-widgets-disconnected");
  document.body.replaceChildren(host);
  window.host = host;
  const t = performance.now();
  window.dispose = module.default.render({model, el: host});
  host.getBoundingClientRect();
  const built = performance.now() - t;
  window.another = () => {
    const el = document.createElement("div");
    document.body.append(el);
    return void module.default.render({model, el});
  };
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return {built, painted: performance.now() - t};
}
"""


def columns(nodes, version=1):
    """Return columns for ``[(level, label, kind, detail, count, flags), ...]`` in preorder."""
    stack: list[int] = []
    parents = []
    for i, (level, *_) in enumerate(nodes):
        del stack[level:]
        parents.append(stack[-1] if stack else -1)
        stack.append(i)
    kinds = sorted({node[2] for node in nodes})
    details = sorted({node[3] for node in nodes})
    return {
        "version": version,
        "labels": [node[1] for node in nodes],
        "parents": parents,
        "kinds": kinds,
        "kind_of": [kinds.index(node[2]) for node in nodes],
        "details": details,
        "detail_of": [details.index(node[3]) for node in nodes],
        "counts": [node[4] for node in nodes],
        "flags": [node[5] for node in nodes],
        "aliases": {},
    }


def linear(level, label, n_in, n_out):
    """Return the three rows of a Linear layer."""
    return [
        (level, label, "Linear", f"{n_in} → {n_out}", n_in * n_out + n_out, 0),
        (level + 1, "weight", "parameter", f"{n_out} × {n_in}", n_in * n_out, 1),
        (level + 1, "bias", "parameter", f"{n_out}", n_out, 1),
    ]


def mlp():
    """Return the rows of the model of the first tutorial."""
    return [
        (0, "Sequential", "Sequential", "", 17_226, 0),
        *linear(1, "layers.0", 64, 128),
        (1, "layers.1", "ReLU", "", 0, 0),
        *linear(1, "layers.2", 128, 64),
        (1, "layers.3", "ReLU", "", 0, 0),
        *linear(1, "layers.4", 64, 10),
    ]


def wide(n_modules):
    """Return the rows of a model of so many modules, ten to a block, each with two parameters."""
    rows: list[tuple] = [(0, "Model", "Model", "", n_modules * 6, 0)]
    made = 1
    while made < n_modules:
        rows.append((1, f"blocks.{len(rows)}", "Block", "", 60, 0))
        made += 1
        for k in range(min(10, n_modules - made)):
            rows.extend(linear(2, f"layer{k}", 2, 2))
            made += 1
    return rows


IDLE = {
    "status": "idle",
    "step": 0,
    "planned": 0,
    "epoch": 0,
    "epochs": 0,
    "rate": 0.0,
    "loss": None,
    "accuracy": None,
    "validation_loss": None,
    "validation_accuracy": None,
    "error": None,
    "not_finite": None,
}
RUNNING = IDLE | {
    "status": "running",
    "step": 1204,
    "planned": 3000,
    "epoch": 4,
    "epochs": 10,
    "rate": 812.4,
    "loss": 0.1234567,
    "accuracy": 0.961,
    "validation_loss": 0.1402,
    "validation_accuracy": 0.9528,
}


def default_state(nodes):
    """Return a state in which everything trains: 3 where there is nothing to freeze."""
    return [0 if node[4] else 3 for node in nodes]


PRESETS = {
    "head_only": "Only the head trains",
    "all_but_head": "All but the head trains",
    "biases_only": "Only biases train",
    "norms_only": "Only norms train",
    "up_to": "Freeze everything up to here",
    "after": "Freeze everything after here",
    "invert": "Invert",
}


LOOKS = {"columns": None, "plots": None}


def make_info(text="", level="info", **rest):
    """Return the trait ``info``."""
    note = {"n": 1 if text else 0, "level": level, "text": text}
    return {"note": note, "undo": None, "redo": None, "presets": PRESETS, **LOOKS, **rest}


def mount(page, nodes, *, state=None, width=None, version=1, info=None, connected=True, **traits):
    """Show the widget in `page`; return milliseconds until it stood and until it was painted.

    `nodes` are rows as `columns` takes them, or the trait ``tree`` itself. Further traits (``run``,
    ``measures``, ...) as they are, bytes among them.
    """
    if state is None:
        state = default_state(nodes)
    traits = {
        "tree": nodes if isinstance(nodes, dict) else columns(nodes, version),
        "state": bytes(state),
        "folds": b"",
        "measures": b"",
        "roles": b"",
        "info": info or make_info(),
        "run": None,
        "curves": {},
        "marks": {},
        "heat": {},
    } | traits
    return page.evaluate(_STUB, [script(), style(), _wired(traits), width, connected])


def kernel_set(page, **traits):
    """Play the kernel: new values of traits."""
    if isinstance(traits.get("state"), list):
        traits["state"] = bytes(traits["state"])
    page.evaluate("(traits) => window.kernel.set(traits)", _wired(traits))


def kernel_answer(page, about, content, buffers=()):
    """Play the kernel: answer the last question about something."""
    asked = [message for message in sent(page, "ask") if message["about"] == about][-1]
    answered = {"type": "answer", "view": asked["view"], "seq": asked["seq"], "about": about}
    page.evaluate(
        "([message, buffers]) => window.kernel.message(message, buffers)",
        [answered | content, _wired(list(buffers))],
    )
    return asked


def _wired(value):
    """Bytes in a form that gets into the page."""
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {name: _wired(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_wired(item) for item in value]
    return value


def sent(page, *types):
    """Return the messages the view sent, of the given types (all when none is given)."""
    messages = page.evaluate("() => window.sent")
    return [m for m in messages if not types or m["type"] in types]


def clicks(page):
    """Return the clicks on rows that the view sent, after it had the time to send them."""
    page.wait_for_timeout(60)
    return [click for message in sent(page, "toggle") for click in message["clicks"]]


def answer(page):
    """Play the kernel: acknowledge everything that any view sent so far."""
    page.evaluate(
        """() => {
          const last = new Map(window.sent.map((message) => [message.view, message.seq]));
          for (const [view, seq] of last) window.kernel.message({type: "ack", view, seq});
        }"""
    )
