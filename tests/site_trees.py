"""A tree of small notebooks and Markdown files, as the site is made of."""

import base64
import io
from pathlib import Path

import nbformat
import numpy as np
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell
from PIL import Image

PLOTLY = "application/vnd.plotly.v1+json"
KERNEL = {"name": "python3", "language": "python", "display_name": "Python 3"}


def picture(alt, *, caption=True):
    """What `save_figure` leaves in a notebook."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (100, 300, 3), np.uint8)  # nothing makes a larger JPEG
    Image.fromarray(noise).save(buffer, "PNG")
    data = {"image/png": base64.b64encode(buffer.getvalue()).decode(), "text/plain": alt}
    outputs = [new_output("display_data", data, metadata={"image/png": {"alt": alt, "width": 150}})]
    if caption:
        outputs.append(new_output("display_data", {"text/markdown": f"*{alt}*", "text/plain": alt}))
    return outputs


def plotly(name):
    figure = {"data": [{"type": "scatter", "y": [1, 3, 2]}], "layout": {"title": {"text": name}}}
    return new_output("display_data", {PLOTLY: figure})


def executed(*cells):
    """A notebook whose cells ran in order; text is a Markdown cell, a list of outputs a code cell."""
    made, count = [], 0
    for cell in cells:
        if isinstance(cell, str):
            made.append(new_markdown_cell(cell))
        else:
            count += 1
            made.append(new_code_cell(f"show({count})", outputs=cell, execution_count=count))
    for number, cell in enumerate(made):
        cell.id = f"cell-{number}"
    return new_notebook(cells=made, metadata={"kernelspec": KERNEL})


HOSTILE = r"""
$\text{<script>window.attacked = 1</script>}$ $\tag{<img src=x onerror=window.attacked=1>}$
$\hbox{<svg onload=window.attacked=1>}$ $\href{javascript:window.attacked=1}{it}$ $\href{https://example.org/}{it}$
$\style{position:fixed;background:url(https://example.org/spy.png)}{it}$ $\class{live}{it}$

$$\text{&lt;script&gt;window.attacked = 1&lt;/script&gt;}$$

[it](javascript:window.attacked=1) [it](JaVaScRiPt:window.attacked=1) [it](<java	script:window.attacked=1>)
[it](&#1;javascript:window.attacked=1) [it](javascript&colon;window.attacked=1) [it](//example.org/spy)
[it](data:text/html,<script>window.attacked=1</script>) [it](vbscript:x) <javascript:window.attacked=1>
[it](file:///etc/passwd) [it](blob:x) [it]( "\" onclick=window.attacked=1 x=\"")

![" onerror="window.attacked=1](x.png) ![it](https://example.org/spy.png) ![it](//example.org/spy.png)

<script>window.attacked = 1</script> <meta http-equiv="refresh" content="0;url=https://example.org/">
<link rel="preconnect" href="https://example.org"><style>* { display: none }</style>

```mermaid
</pre><script>window.attacked = 1</script><meta http-equiv="refresh" content="0;url=https://example.org/">
```

```"><script>window.attacked=1</script>
code
```

| <script>window.attacked = 1</script> | it |
|---|---|
| <img src=x onerror=window.attacked=1> | it |

## <img src=x onerror=window.attacked=1> "onclick=window.attacked=1

the end of it
"""
HTML = [
    "<script>window.attacked = 1</script>",
    "<img alt='' src='https://example.org/spy.png' onerror='window.attacked = 1'>",
    "<meta http-equiv='refresh' content='0;url=https://example.org/'>",
    "<gatescope-scrubber-00000000></gatescope-scrubber-00000000><script type='module'>window.attacked = 1</script>",
]


def hostile_notebook():
    """A notebook whose texts and outputs try to run scripts, to ask another host and to lead to it."""
    spying = {"data": [{"type": "scatter", "y": [1, 2], "text": "<a href='javascript:window.attacked=1'>it</a>"}]}
    spying["layout"] = {"images": [{"source": "https://example.org/spy.png", "x": 0, "y": 1, "sizex": 1, "sizey": 1}]}
    node = executed(
        "# 98 · Hostile\n\n**Does it run?**",
        [new_output("display_data", {"text/html": html}) for html in HTML],
        [new_output("display_data", {"text/markdown": HOSTILE.replace("the end of it", "")})],
        [
            new_output("stream", text="<script>window.attacked = 1</script>\n"),
            new_output("display_data", {PLOTLY: spying}),
        ],
        HOSTILE,
    )
    node.cells.append(new_raw_cell("<script>window.attacked = 1</script>", id="raw"))
    return node


def write_tree(folder: Path, **notebooks) -> Path:
    """A tree with these notebooks, a README and a file beside it that no page can show."""
    (folder / "notebooks").mkdir(parents=True)
    for name, node in notebooks.items():
        nbformat.write(node, folder / "notebooks" / f"{name}.ipynb")
    (folder / "data").mkdir()
    (folder / "data" / "README.md").write_text("# Data\n\nBack to the [setup](../README.md#set-up-first).\n")
    (folder / "README.md").write_text("# Read me\n\n## Set up first!\n\n[Licence](LICENSE)\n")
    (folder / "LICENSE").write_text("MIT")
    return folder
