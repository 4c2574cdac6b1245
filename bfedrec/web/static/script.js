// The only script of our own: charts and live fragments. Pages work without it.
//
// A chart is <div class="chart" id=ID> with its figure as JSON in data-figure, or with the address
// of one in data-source. A figure is
//   {"x": [{"key", "name"}, ...], "y": [{"key", "name", "zero"?}, ...],
//    "series": [{"name", "values": {key: [numbers or null]}, "low"?: {key: ...}, "high"?: {key: ...},
//                "colour"?: 1..8, "dash"?: "dot", "width"?: 1.5, "markers"?: true}, ...]}
// The first x and y are shown. Where there are more, a <select data-chart=ID data-axis="x"> with the
// keys as values chooses; elements of class "scripted" are hidden until this script runs.
//
// An element with data-live names an address of server-sent events: "fragment" {"id", "html"} puts
// HTML into an element, "figure" {"id", "figure"} draws a chart anew, "done" ends and loads the page
// again.
"use strict";
(() => {
  const figures = new Map(); // the figure of each chart, by the chart's id
  const chosen = new Map(); // the chosen axes, by the chart's id and axis
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const COLOURS = 8;

  function axisOf(id, axis) {
    const choices = figures.get(id)[axis];
    return choices.find((each) => each.key === chosen.get(`${id} ${axis}`)) || choices[0];
  }

  function faded(color) {
    const found = /^#(..)(..)(..)$/.exec(color);
    return found ? `rgba(${found.slice(1).map((each) => parseInt(each, 16)).join(",")},0.16)` : color;
  }

  function tracesOf(series, index, x, y) {
    const across = series.values[x.key], values = series.values[y.key];
    if (!across || !values) return [];
    const color = colour(`--series-${series.colour || (index % COLOURS) + 1}`);
    const line = { color, dash: series.dash || "solid", width: series.width || 2.25 };
    const shown = { name: series.name, x: across, y: values, line };
    const mode = series.markers ? "lines+markers" : "lines";
    const traces = [{ ...shown, mode, marker: { color, size: 6 }, hovertemplate: "%{y:.5~g}" }];
    const low = series.low && series.low[y.key], high = series.high && series.high[y.key];
    if (low && high) {
      const edge = { x: across, mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false };
      traces.unshift({ ...edge, y: low }, { ...edge, y: high, fill: "tonexty", fillcolor: faded(color) });
    }
    return traces;
  }

  function draw(id) {
    const chart = document.getElementById(id), figure = figures.get(id);
    if (!chart || !figure || !window.Plotly) return;
    const x = axisOf(id, "x"), y = axisOf(id, "y");
    const traces = figure.series.flatMap((series, index) => tracesOf(series, index, x, y));
    if (!traces.length) return;
    const text = colour("--text"), grid = colour("--line");
    const axis = { gridcolor: grid, linecolor: grid, zeroline: false, automargin: true };
    const layout = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: text, family: "system-ui, sans-serif", size: 13 },
      margin: { l: 55, r: 10, t: 10, b: 45 },
      xaxis: { ...axis, title: { text: x.name } },
      yaxis: { ...axis, title: { text: y.name }, rangemode: y.zero ? "tozero" : "normal" },
      legend: { orientation: "h", y: 1.02, yanchor: "bottom" }, showlegend: figure.series.length > 1,
      hovermode: "x unified", hoverlabel: { bgcolor: colour("--card") },
      uirevision: `${x.key} ${y.key}`,
    };
    chart.dataset.drawn = String(traces.length); // shown from now on: Plotly measures its width
    window.Plotly.react(chart, traces, layout, { displayModeBar: false, responsive: true });
  }

  function show(id, figure) {
    figures.set(id, figure);
    draw(id);
  }

  async function load(chart) {
    if (chart.dataset.figure) show(chart.id, JSON.parse(chart.dataset.figure));
    else if (chart.dataset.source) show(chart.id, await (await fetch(chart.dataset.source)).json());
  }

  function listen(address) {
    const source = new EventSource(address);
    source.addEventListener("fragment", (event) => {
      const { id, html } = JSON.parse(event.data);
      const place = document.getElementById(id);
      if (place) place.innerHTML = html; // rendered by our server, which escapes all that is foreign
    });
    source.addEventListener("figure", (event) => {
      const { id, figure } = JSON.parse(event.data);
      show(id, figure);
    });
    source.addEventListener("done", () => {
      source.close();
      window.location.reload();
    });
  }

  for (const each of document.querySelectorAll(".scripted")) each.classList.remove("scripted");
  for (const each of document.querySelectorAll("select[data-chart]")) {
    const choose = () => {
      chosen.set(`${each.dataset.chart} ${each.dataset.axis}`, each.value);
      draw(each.dataset.chart);
    };
    each.addEventListener("change", choose);
    choose(); // a browser may restore what was chosen before
  }
  for (const each of document.querySelectorAll(".chart")) load(each);
  for (const each of document.querySelectorAll("[data-live]")) listen(each.dataset.live);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", () => [...figures.keys()].forEach(draw));
})();
