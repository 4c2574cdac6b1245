"""The configuration of Sphinx, which `docs.generator` calls with the pages that it gathered."""

import os
from importlib import import_module
from importlib.metadata import version as version_of

# Pydantic cannot build its models while autodoc imports them.
import_module("bfedrec.config.schema")

project = "bfedrec"
author = "the bfedrec authors"
copyright = "2026, the bfedrec authors"
release = version_of("bfedrec")
version = ".".join(release.split("+")[0].split(".")[:3])

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx_copybutton"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
root_doc = "index"
exclude_patterns = ["files/**"]
nitpicky = True
# What other libraries define has no page here.
# And inner types are named in signatures without a page of their own.
nitpick_ignore_regex = [("py:.*", r"(?!bfedrec\.\w+$|bfedrec\.api\.).*"), ("py:obj", ".*")]
default_role = "py:obj"
highlight_language = "sh"

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 4
myst_links_external_new_tab = False
myst_title_to_header = True

# Notebooks are executed where a caller asks for it: "off", "cache" or "force".
nb_execution_mode = os.environ.get("BFEDREC_DOCS_NOTEBOOKS", "off")
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_merge_streams = True

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_class_signature = "separated"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"bfedrec {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = ["search.js"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}
copybutton_exclude = ".linenos, .gp, .go"


READABLE = (
    # Headings of the navigation need a level,
    ("furo_navigation_tree", 'role="heading"', 'role="heading" aria-level="2"'),
    # what scrolls has to be reached by the keyboard,
    ("body", "<pre>", '<pre tabindex="0">'),
    ("body", '<div class="table-wrapper', '<div tabindex="0" class="table-wrapper'),
    # and the lines of a signature are no list of definitions.
    ("body", '<dl>\n<dd><em class="sig-param">', '<dl role="none">\n<dd><em class="sig-param">'),
    ("body", '<dd><em class="sig-param">', '<dd role="none"><em class="sig-param">'),
)
"""What Sphinx and the theme leave inaccessible: where it stands, as what, and what it becomes."""


def _readable(app, pagename, templatename, context, doctree):
    for key, text, better in READABLE:
        context[key] = context.get(key, "").replace(text, better)


def setup(app):
    """Connect what is ours; called by Sphinx."""
    app.connect("html-page-context", _readable, priority=900)
