"""Write the picture and the tree of ``docs/architecture.md``: ``python docs/write_architecture.py``.

The picture comes from the layers of the import contract in ``pyproject.toml``, the tree from the files and the first
lines of their docstrings.
"""

from __future__ import annotations

import ast
import re
import tomllib
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "ppo_tui"
PAGE = Path(__file__).with_name("architecture.md")
PICTURE = Path(__file__).parent / "images" / "layers.svg"

_BEGIN, _END = "<!-- Written by docs/write_architecture.py. -->\n", "<!-- End of what is written. -->\n"
_WIDTH, _ROW, _GAP, _MARGIN = 960, 46, 8, 16


def layers() -> list[list[str]]:
    """The rooms of each layer, from the top to the bottom."""
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    (contract,) = (contract for contract in tool["contracts"] if contract["type"] == "layers")
    return [layer.split(" | ") for layer in contract["layers"]]


def picture() -> str:
    """The layers as an SVG: each imports from those below it alone."""
    rows = layers()
    height = 2 * _MARGIN + len(rows) * (_ROW + _GAP) - _GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="system-ui, sans-serif">',
        "  <style>.b{fill:#f4f6fb;stroke:#5b6b8c;stroke-width:1.5}.t{font-weight:600;font-size:15px;fill:#1d2740}"
        ".s{fill:#41506e;font-size:12px}.l{fill:none;stroke:#5b6b8c;stroke-width:1.8;marker-end:url(#a)}</style>",
        '  <defs><marker id="a" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 10 5 0 10z" fill="#5b6b8c"/></marker></defs>',
        f'  <rect width="{_WIDTH}" height="{height}" rx="10" fill="#ffffff"/>',
    ]
    left = _MARGIN + 60
    parts.append(f'  <path class="l" d="M{_MARGIN + 26} {_MARGIN} V{height - _MARGIN}"/>')
    middle = height // 2
    parts.append(
        f'  <text class="s" x="{_MARGIN + 16}" y="{middle}" text-anchor="middle" '
        f'transform="rotate(-90 {_MARGIN + 16} {middle})">imports run downwards only</text>'
    )
    for number, rooms in enumerate(rows):
        y = _MARGIN + number * (_ROW + _GAP)
        width = (_WIDTH - _MARGIN - left - _GAP * (len(rooms) - 1)) / len(rooms)
        for column, room in enumerate(rooms):
            x = left + column * (width + _GAP)
            parts.append(f'  <rect class="b" x="{x:.0f}" y="{y}" width="{width:.0f}" height="{_ROW}" rx="6"/>')
            parts.append(f'  <text class="t" x="{x + 12:.0f}" y="{y + 28}">{escape(room)}</text>')
            if len(rooms) <= 2:
                words = re.split(r"[,:.]", _caption(_source(room)))[0] if len(rooms) == 2 else _caption(_source(room))
                caption = escape(words.rstrip("."))
                parts.append(f'  <text class="s" x="{x + 150:.0f}" y="{y + 28}">{caption}</text>')
    return "\n".join([*parts, "</svg>", ""])


def tree() -> str:
    """List every file of the package with its docstring's first line."""
    return "\n".join(["```text", "ppo_tui/", *_lines(PACKAGE, "  "), "```", ""])


def _lines(directory: Path, indent: str) -> list[str]:
    files = [path for path in directory.glob("*.py") if path.name != "__init__.py"]
    rooms = [path for path in directory.iterdir() if (path / "__init__.py").is_file()]
    width = max((len(path.name) for path in files), default=0)
    lines = [f"{indent}{path.name:<{width}}  {_caption(path)}" for path in sorted(files)]
    for path in sorted(rooms):
        lines.append(f"{indent}{path.name}/  {_caption(path / '__init__.py')}".rstrip())
        lines += _lines(path, indent + "  ")
    return lines


def _source(room: str) -> Path:
    return PACKAGE / room / "__init__.py" if (PACKAGE / room).is_dir() else PACKAGE / f"{room}.py"


def _caption(path: Path) -> str:
    """The first line of a file's docstring, without markup."""
    lines = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").splitlines()
    return re.sub(r"`{1,2}", "", lines[0]) if lines else ""


def page() -> str:
    """The whole page, with the tree as the files are now."""
    text = PAGE.read_text("utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n{tree()}\n{_END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    PICTURE.write_text(picture(), "utf-8")
