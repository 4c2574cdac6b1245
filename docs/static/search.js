// Ids of options have dots (config.html#confval-aggregation.rule), which a selector takes for classes, so that
// Sphinx finds no summary of them. Escape what it looks up.
document.addEventListener("DOMContentLoaded", () => {
  if (typeof Search === "undefined") return;
  const textOf = Search.htmlToText;
  Search.htmlToText = (html, anchor) => textOf(html, anchor && `#${CSS.escape(anchor.slice(1))}`);
});
