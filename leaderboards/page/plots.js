const data = JSON.parse(document.getElementById("data").textContent);
const SYMBOLS = ["circle", "square", "triangle-up", "diamond", "cross", "star", "hexagon", "x"];
const SERIES = 8;

// Plotly reads names as a small HTML: what is not to be markup is escaped.
const plain = (text) =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

// A custom property is read as it was written, light-dark() and all; a colour is read as it is.
function colour(name) {
  const probe = document.body.appendChild(document.createElement("i"));
  probe.style.color = `var(--${name})`;
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

let loading;
function plotly() {
  loading ??= (async () => {
    const packed = atob(document.getElementById("plotly").textContent);
    const bytes = Uint8Array.from(packed, (letter) => letter.charCodeAt(0));
    const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(unpacked).text();
    document.head.append(script);
    return window.Plotly;
  })();
  return loading;
}

const number = (value) => Number(value.toPrecision(4)).toString();

function hoverText(name, point) {
  const interval = point[1] === null ? "" : `, ${number(point[1])} to ${number(point[2])}`;
  return `${plain(name)}: ${number(point[0])}${interval}`;
}

function bars(points) {
  return {
    type: "data",
    symmetric: false,
    array: points.map((point) => (point[2] === null ? 0 : point[2] - point[0])),
    arrayminus: points.map((point) => (point[1] === null ? 0 : point[0] - point[1])),
    thickness: 2,
    width: 0,
  };
}

function style(index) {
  return { color: colour(`series-${index % SERIES}`), symbol: SYMBOLS[index % SERIES], size: 9 };
}

const drawings = {
  tasks(figure, { series, categories, unit }) {
    const traces = series.map((model, index) => {
      const known = model.points.map((point, place) => ({ point, place })).filter((at) => at.point);
      const points = known.map((at) => at.point);
      const shift = series.length > 1 ? (index / (series.length - 1) - 0.5) * 0.6 : 0;
      return {
        type: "scatter",
        mode: "markers",
        name: plain(model.name),
        x: points.map((point) => point[0]),
        y: known.map((at) => at.place + shift),
        text: points.map((point) => hoverText(model.name, point)),
        hoverinfo: "text",
        marker: style(index),
        error_x: bars(points),
      };
    });
    return {
      traces,
      height: 120 + categories.length * Math.max(34, 16 * series.length),
      layout: {
        xaxis: { title: { text: plain(unit) } },
        yaxis: {
          range: [categories.length - 0.5, -0.5],
          tickvals: categories.map((_, place) => place),
          ticktext: categories.map(plain),
          automargin: true,
          showgrid: false,
          zeroline: false,
        },
        shapes: categories.slice(1).map((_, place) => ({
          type: "line", xref: "paper", x0: 0, x1: 1, y0: place + 0.5, y1: place + 0.5,
          line: { color: colour("line"), width: 1 }, layer: "below",
        })),
      },
    };
  },

  against(figure, { metrics }) {
    const [x, y] = ["x", "y"].map((axis) =>
      metrics[figure.querySelector(`[data-axis=${axis}]`).value]);
    const names = Object.keys(x.points).filter((name) => Object.hasOwn(y.points, name));
    const own = (metric) => names.map((name) => metric.points[name]);
    const trained = new Set([...x.trained, ...y.trained]);
    return {
      traces: [{
        type: "scatter",
        mode: names.length > 12 ? "markers" : "markers+text",
        x: own(x).map((point) => point[0]),
        y: own(y).map((point) => point[0]),
        text: names.map(plain),
        hovertext: names.map((name) =>
          `${plain(name)}<br>${hoverText(x.title, x.points[name])}<br>${hoverText(y.title, y.points[name])}`),
        hoverinfo: "text",
        textposition: "top right",
        cliponaxis: false,
        error_x: { ...bars(own(x)), color: colour("interval") },
        error_y: { ...bars(own(y)), color: colour("interval") },
        marker: {
          size: 10,
          color: colour("accent"),
          symbol: names.map((name) => (trained.has(name) ? "diamond-open" : "circle")),
        },
      }],
      height: 420,
      layout: {
        showlegend: false,
        xaxis: { title: { text: plain(x.title) } },
        yaxis: { title: { text: plain(y.title) }, automargin: true },
      },
    };
  },

  training(figure, { rewards }) {
    const reward = rewards[figure.querySelector("[data-reward]").value];
    const traces = reward.runs.flatMap((run, index) => {
      const curve = (points, what, rest) => ({
        type: "scatter",
        x: points.map((point) => point[0]),
        y: points.map((point) => point[1]),
        text: points.map((point) => {
          const error = point[2] === null ? "" : ` ± ${number(point[2])}`;
          return `${plain(run.name)}, ${what}, step ${point[0]}: ${number(point[1])}${error}`;
        }),
        hoverinfo: "text",
        name: `${plain(run.name)}, ${what}`,
        ...rest,
      });
      const marker = style(index);
      return [
        curve(run.trained, "own samples", {
          mode: run.trained.length > 1 ? "lines" : "markers",
          line: { color: marker.color, width: 1.5 },
          opacity: 0.75,
        }),
        curve(run.held_out, "held out", {
          mode: "lines+markers",
          marker,
          line: { color: marker.color, dash: "dot", width: 1 },
          error_y: {
            type: "data", array: run.held_out.map((point) => point[2] ?? 0), thickness: 2, width: 0,
          },
        }),
      ].filter((trace) => trace.x.length);
    });
    const last = Math.max(...traces.flatMap((trace) => trace.x));
    return {
      traces,
      height: 400,
      layout: {
        xaxis: { title: { text: "step" }, rangemode: "tozero", ...(last < 10 && { dtick: 1 }) },
        yaxis: { title: { text: plain(reward.name) }, automargin: true },
      },
    };
  },
};

async function draw(figure) {
  const Plotly = await plotly();
  const drawn = data[figure.dataset.plot];
  const { traces, layout, height } = drawings[drawn.kind](figure, drawn);
  const axis = {
    gridcolor: colour("line"), linecolor: colour("line"), zerolinecolor: colour("line"),
  };
  await Plotly.react(figure.querySelector(".plot"), traces, {
    ...layout,
    height,
    autosize: true,
    margin: { l: 48, r: 16, t: 16, b: 48 },
    dragmode: false,
    paper_bgcolor: "rgba(0, 0, 0, 0)",
    plot_bgcolor: "rgba(0, 0, 0, 0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("ink") },
    hoverlabel: { bgcolor: colour("card"), font: { color: colour("ink") }, align: "left" },
    legend: { orientation: "h", y: 1, yanchor: "bottom", x: 0 },
    xaxis: { ...axis, ...layout.xaxis, fixedrange: true },
    yaxis: { ...axis, ...layout.yaxis, fixedrange: true },
  }, { displayModeBar: false, responsive: true });
  figure.dataset.drawn = "";
}

// A plot is drawn when a reader comes near it: the table does not wait for it.
const near = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    draw(target);
  }
}, { rootMargin: "600px" });
for (const figure of document.querySelectorAll(".drawing")) {
  near.observe(figure);
  figure.addEventListener("change", () => draw(figure));
}
document.addEventListener("theme", () => {
  for (const figure of document.querySelectorAll(".drawing[data-drawn]")) draw(figure);
});
