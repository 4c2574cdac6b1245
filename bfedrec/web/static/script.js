// The only script of our own: live fragments and the chart of losses. Pages work without it.
"use strict";
(() => {
  const chart = document.getElementById("chart");
  const live = document.getElementById("live");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function draw(losses) {
    if (!chart || !window.Plotly || !losses.epoch.length) return;
    const line = (name, values, color, dash, width) => ({
      name, x: losses.epoch, y: values, mode: "lines", line: { color, dash, width },
      hovertemplate: "%{y:.5f}",
    });
    const traces = [
      line("training", losses.training, colour("--series-1"), "solid", 2.5),
      line("test", losses.test, colour("--series-2"), "solid", 2.5),
      line("constant, training", losses.constant_training, colour("--series-1"), "dot", 1.5),
      line("constant, test", losses.constant_test, colour("--series-2"), "dot", 1.5),
    ];
    const text = colour("--text"), grid = colour("--line");
    const axis = { gridcolor: grid, linecolor: grid, zeroline: false, automargin: true };
    const layout = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: text, family: "system-ui, sans-serif", size: 13 },
      margin: { l: 55, r: 10, t: 10, b: 45 },
      xaxis: { ...axis, title: { text: "Epoch" } },
      yaxis: { ...axis, title: { text: "Mean squared error" }, rangemode: "tozero" },
      legend: { orientation: "h", y: 1.02, yanchor: "bottom" },
      hovermode: "x unified", hoverlabel: { bgcolor: colour("--card") }, uirevision: "same",
    };
    window.Plotly.react(chart, traces, layout, { displayModeBar: false, responsive: true });
  }

  let latest = chart ? JSON.parse(chart.dataset.losses) : null;
  if (latest) draw(latest);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", () => latest && draw(latest));

  if (live && live.dataset.source) {
    const source = new EventSource(live.dataset.source);
    source.addEventListener("steps", (event) => {
      live.innerHTML = event.data; // rendered by our server, which escapes all that is foreign
    });
    source.addEventListener("losses", (event) => {
      latest = JSON.parse(event.data);
      draw(latest);
    });
    source.addEventListener("done", () => {
      source.close();
      window.location.reload();
    });
  }
})();
