"""Records the pictures of the README: the explorer in JupyterLab, driven in a real Chromium.

    pip install -e ".[test]" && python notebooks/images/record.py

writes explorer.gif and explorer.png beside this file. FREEZEVIZ_CHROMIUM names a Chromium that is
not on the path. Nothing on the page is staged but the pointer, which a headless browser does not
draw, and the pace: a frame is shown for as long as the story needs, not as long as it took to make.
The last plot has times of steps in it, so the machine should have nothing else to do; what it says
is printed.
"""

import io
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Locator, ViewportSize, sync_playwright

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.browser.lab import (
    ARGUMENTS,
    LabNotebook,
    LabServer,
    watched_page,
    write_notebook,
)

# The explorer gets two columns, of 1,100 pixels.
VIEWPORT: ViewportSize = {"width": 1280, "height": 1000}
FRAME = 180  # milliseconds
COLOURS = 96
MOST_BYTES = 2_000_000

MODEL = """
import numpy as np
import freezeviz as fv
from freezeviz import nn, optim

class Block(nn.Module):
    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1)
        self.norm = nn.BatchNorm(outputs)

    def __call__(self, x):
        return nn.relu(self.norm(self.conv(x)))

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = [Block(1, 8), Block(8, 16, stride=2), Block(16, 16)]
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(256, 10)

    def __call__(self, x):
        x = x.reshape(-1, 8, 8, 1)
        for block in self.blocks:
            x = block(x)
        return self.head(self.dropout(x.reshape(len(x), -1)))

fv.seed(0)
digits = fv.data.digits(seed=0)
images, labels = digits.train
train = images[:1344], labels[:1344]  # 21 full batches
model = Net()
trainer = fv.Trainer(
    model, optim.Adam(1e-4), data=train, validation=digits.validation, batch_size=64
)
"""
SHOW = "explorer = fv.explore(trainer)\nexplorer"

TYPICAL = """
[round(1000 * float(np.median(part)), 1) for part in np.split(
    trainer.history.steps["seconds"], [mark.step for mark in trainer.history.marks])]
"""

POINTER = """
() => {
  const pointer = document.createElement("div");
  pointer.id = "pointer";
  pointer.style.cssText =
    "position:fixed;left:0;top:0;z-index:99999;pointer-events:none;transform-origin:0 0";
  pointer.innerHTML =
    '<svg width="26" height="30" viewBox="0 0 26 30" style="overflow:visible">' +
    '<circle r="15" fill="#0a5bb5" opacity="0"/>' +
    '<path d="M1 1v20l5-4.5 4 8.5 4-2-4-8h7z" fill="#111" stroke="#fff" stroke-width="1.6"/></svg>';
  document.body.append(pointer);
}
"""
POINT = """
([x, y, down]) => {
  const pointer = document.getElementById("pointer");
  pointer.style.left = `${x}px`;
  pointer.style.top = `${y}px`;
  pointer.querySelector("circle").setAttribute("opacity", down ? "0.3" : "0");
}
"""


class Film:
    """Frames of a part of a page, each with the milliseconds for which it is shown."""

    def __init__(self, page: Any, clip: dict[str, float]) -> None:
        self.page = page
        self.clip = clip
        self.frames: list[Image.Image] = []
        self.shown: list[int] = []
        self.at = (clip["x"] + 0.45 * clip["width"], clip["y"] + 0.8 * clip["height"])
        page.evaluate(POINTER)
        self._point(False)

    def _point(self, down: bool) -> None:
        self.page.evaluate(POINT, [*self.at, down])

    def shoot(self, milliseconds: int = FRAME) -> None:
        """Add a frame."""
        shot = self.page.screenshot(clip=self.clip, animations="disabled", caret="hide")
        self.frames.append(Image.open(io.BytesIO(shot)).convert("RGB"))
        self.shown.append(milliseconds)

    def roll(self, frames: int) -> None:
        """Add frames while the page goes on."""
        for _ in range(frames):
            self.page.wait_for_timeout(120)
            self.shoot()

    def move(self, target: Locator, x: float = 0.5, frames: int = 3) -> None:
        """Move the pointer, with frames on the way."""
        box = target.bounding_box()
        assert box is not None, "the target is not on the page"
        to = (box["x"] + x * box["width"], box["y"] + 0.5 * box["height"])
        begin = self.at
        for i in range(1, frames + 1):
            part = i / frames
            part = part * part * (3 - 2 * part)
            self.at = tuple(a + part * (b - a) for a, b in zip(begin, to, strict=True))
            self.page.mouse.move(*self.at)
            self._point(False)
            self.shoot(90 if i < frames else FRAME)

    def click(self, target: Locator, x: float = 0.5, frames: int = 3) -> None:
        """Move the pointer and click, with a frame that shows the click."""
        self.move(target, x, frames)
        self._point(True)
        self.shoot(120)
        self.page.mouse.click(*self.at)
        self._point(False)

    def save(self, path: Path) -> None:
        """Write the film as a GIF: one palette, no dithering, frames that are equal as one."""
        palette = _palette(self.frames)
        frames, shown = [], []
        for frame, milliseconds in zip(self.frames, self.shown, strict=True):
            reduced = frame.quantize(palette=palette, dither=Image.Dither.NONE)
            if frames and reduced.tobytes() == frames[-1].tobytes():
                shown[-1] += milliseconds
            else:
                frames.append(reduced)
                shown.append(milliseconds)
        frames[0].save(
            path, save_all=True, append_images=frames[1:], duration=shown, loop=0, optimize=False
        )
        size = path.stat().st_size
        print(f"{path.name}: {len(frames)} frames, {sum(shown) / 1000:.1f} s, {size:,} bytes")
        assert size < MOST_BYTES, "too large for a README"


def _palette(frames: list[Image.Image]) -> Image.Image:
    """The palette of a few frames, on which every colour of the page occurs."""
    some = frames[:: max(1, len(frames) // 8)]
    width, height = some[0].size
    strip = Image.new("RGB", (width, height * len(some)))
    for i, frame in enumerate(some):
        strip.paste(frame, (0, i * height))
    return strip.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, kmeans=2)


def story(lab: LabNotebook, film: Film, still: Path) -> None:
    """Train; freeze a block by a click; search; a preset; gradients and cost."""
    page = lab.page
    explorer = page.locator(".freezeviz-live").first

    film.shoot(500)
    film.click(explorer.get_by_role("button", name="Start"))
    lab.until("trainer.step > 5")
    film.roll(7)

    film.click(lab.row("blocks.0"), x=0.2)
    lab.until("'blocks.0.conv.weight' in trainer.adapter.frozen()")
    film.roll(5)

    film.click(explorer.get_by_role("searchbox"), x=0.3)
    for letter in "norm":
        page.keyboard.type(letter)
        page.wait_for_timeout(80)
        film.shoot(120)
    film.roll(3)
    page.keyboard.press("Escape")

    film.click(explorer.get_by_role("button", name="Presets"))
    page.wait_for_timeout(150)
    film.shoot(400)
    film.click(page.get_by_role("menuitem", name="Only the head trains"), x=0.3)
    lab.until("len(trainer.adapter.frozen()) == 12")
    film.roll(5)
    film.frames[-1].save(still, optimize=True)

    film.click(explorer.get_by_role("tab", name="Gradients"))
    film.roll(2)
    film.shoot(1000)
    film.click(explorer.get_by_role("tab", name="Cost"))
    film.roll(2)
    film.shoot(1600)


def record(chromium: str, folder: Path) -> None:
    """Open a notebook in a JupyterLab of its own, and film what happens to its explorer."""
    with tempfile.TemporaryDirectory() as scratch:
        home, root = Path(scratch, "home"), Path(scratch, "root")
        home.mkdir()
        root.mkdir()
        write_notebook(root / "explorer.ipynb", [MODEL.strip(), SHOW])
        with LabServer(home, root) as server, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
            page = watched_page(browser.new_context(viewport=VIEWPORT))
            lab = LabNotebook(page, server, "explorer.ipynb")
            if page.locator(".jp-FileBrowser").is_visible():
                page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")
            lab.run_all()
            # Slow enough for the eye. What a step takes is measured without it.
            lab.python("trainer.subscribe(lambda event: __import__('time').sleep(0.01)) and 1")
            explorer = page.locator(".freezeviz-live").first
            explorer.get_by_role("spinbutton").fill("60")
            explorer.get_by_role("button", name="Columns").click()
            page.get_by_role("menuitemcheckbox", name="Parameters", exact=True).click()
            page.keyboard.press("Escape")
            page.evaluate("document.activeElement.blur()")
            cell = page.locator(".jp-CodeCell").last
            cell.locator(".jp-InputArea-editor").evaluate("(e) => e.scrollIntoView()")
            page.wait_for_timeout(1500)
            code = cell.locator(".jp-InputArea-editor").bounding_box()
            seen = explorer.bounding_box()
            assert code is not None
            assert seen is not None
            clip = {
                "x": seen["x"] - 8,
                "y": code["y"],
                "width": seen["width"] + 16,
                "height": seen["y"] + seen["height"] - code["y"] + 8,
            }
            film = Film(page, clip)
            story(lab, film, folder / "explorer.png")
            assert page.problems == [], page.problems
            print("milliseconds of a typical step, from freeze to freeze:", lab.python(TYPICAL))
            browser.close()
    film.save(folder / "explorer.gif")


if __name__ == "__main__":
    named = os.environ.get("FREEZEVIZ_CHROMIUM", "chromium")
    found = shutil.which(named)
    if found is None:
        raise SystemExit(f"no executable {named!r}: name a Chromium in FREEZEVIZ_CHROMIUM")
    record(found, Path(__file__).parent)
