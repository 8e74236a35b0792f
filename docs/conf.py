"""How Sphinx builds the site; `make docs` calls it."""

import importlib
import re
import shutil
import urllib.request
from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

from qlifq import __version__

project, author = "qlifq", "The qlifq developers"
copyright = author  # Sphinx reads this name
release = version = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_design",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]

# Pages. A page is executed when it is built, and an error in it ends the build.
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True

# API. A name in backquotes is a link where it is one of the API's.
ROOMS = [
    "qlifq",
    "qlifq.neurons",
    "qlifq.circuits",
    "qlifq.backends",
    "qlifq.backends.batching",
    "qlifq.backends.conformance",
    "qlifq.calibration",
    "qlifq.training",
    "qlifq.studies",
    "qlifq.interop",
    "qlifq.plot",
    "qlifq.random",
    "qlifq.reporting.report",
    "qlifq.errors",
]
default_role = "py:obj"
autosummary_ignore_module_all = False
autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Reference"]

html_theme = "pydata_sphinx_theme"
html_title = f"qlifq {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_sidebars: dict[str, list[str]] = {"index": [], "start": []}
html_favicon = "favicon.svg"
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": False, "show_prev_next": True, "header_links_before_dropdown": 8}
html_context = {"default_mode": "auto"}
html_math_renderer = "mathml"

#: Libraries whose pages the site links to.
LIBRARIES = {
    "python": "https://docs.python.org/3",
    "torch": "https://docs.pytorch.org/docs/stable",
    "pennylane": "https://docs.pennylane.ai/en/stable",
    "qiskit": "https://quantum.cloud.ibm.com/docs/api/qiskit",
}


def aliases_of_rooms() -> dict[str, dict[str, str]]:
    """The names of each room that an earlier room has a page for, with the name that is the title of the page."""
    titles: dict[int, str] = {}
    found: dict[str, dict[str, str]] = {}
    for room in ROOMS:
        module = importlib.import_module(room)
        for name in module.__all__:
            thing = getattr(module, name)
            title = titles.setdefault(id(thing), f"{room}.{name}")
            if title != f"{room}.{name}":
                found.setdefault(room, {})[name] = title
        found.setdefault(room, {})
    return found


autosummary_context = {"aliases": aliases_of_rooms()}


def follow_alias(app: Sphinx, env: Any, node: Any, content: Any) -> Any:
    """The link of a name whose page has another title: `qlifq.neurons.QLIF` is `qlifq.QLIF`."""
    room, _, name = str(node.get("reftarget")).rpartition(".")
    title = autosummary_context["aliases"].get(room, {}).get(name)
    return title and env.domains["py"].resolve_xref(env, node["refdoc"], app.builder, "obj", title, node, content)


def write_as_rst(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Let the formulas of a docstring, which stand indented, keep their lines, and the bars of |0⟩ be bars."""
    written: list[str] = []
    in_description = True
    for line in lines:
        in_description = in_description and not re.match(r":\w|\.\. ", line)
        formula = in_description and line.startswith("    ")
        if formula and not written[-1].strip() and not written[-2].endswith("::"):
            written += ["::", ""]
        code = formula or line.lstrip().startswith((">>>", "..."))
        # The even parts of a line stand outside of backquotes.
        parts = line.split("`")
        written.append(
            line if code else "`".join([*(part if i % 2 else part.replace("|", r"\|") for i, part in enumerate(parts))])
        )
    lines[:] = written


def without_backlinks(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Take the links back to the documentation off the pages of source text, which mistake the room of some names."""
    if page.startswith("_modules/"):
        context["body"] = re.sub(r'<a class="viewcode-back"[^>]*>\[docs\]</a>', "", context["body"])


def fetch_inventories(app: Sphinx, config: Any) -> None:
    """Map the libraries whose inventory can be had: without a network the site has fewer links, and no warning."""
    folder = Path(app.outdir).parent / "inventories"
    folder.mkdir(parents=True, exist_ok=True)
    for name, address in LIBRARIES.items():
        file = folder / f"{name}.inv"
        if not file.exists():
            try:
                with urllib.request.urlopen(f"{address}/objects.inv", timeout=5) as answer, file.open("wb") as inventory:
                    shutil.copyfileobj(answer, inventory)
            except OSError:
                file.unlink(missing_ok=True)
                continue
        config.intersphinx_mapping[name] = (address, str(file))


def inline_formula(writer: Any, node: Any) -> None:
    """Write a formula as MathML, which browsers draw without a script."""
    writer.body.append(convert(node.astext()))
    raise nodes.SkipNode


def block_formula(writer: Any, node: Any) -> None:
    """Write a formula on a line of its own."""
    writer.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Add what Sphinx does not bring."""
    app.add_html_math_renderer("mathml", (inline_formula, None), (block_formula, None))
    app.connect("config-inited", fetch_inventories, priority=100)
    app.connect("autodoc-process-docstring", write_as_rst, priority=600)  # after napoleon
    app.connect("missing-reference", follow_alias)
    app.connect("html-page-context", without_backlinks)
