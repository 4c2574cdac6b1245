"""The generator of the documentation site: what `make docs` and `make docs-test` run.

`python -m docs.generator` gathers the repository's Markdown, adds the reference that it writes from
the code, and has Sphinx build the pages. Nothing imports this package but the tests of the site.
"""
