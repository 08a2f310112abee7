"use strict";
// Puts REPORT into frames of two widths, with scripts and without, and writes what it finds into #found.

// The figure at a key such as runs.0.latency.ok of summary.json.
const figure = (key) => key.split(".").reduce((value, part) => (value === undefined || value === null ? value : value[part]), SUMMARY);

// A number as the report writes it, in the unit of the key: "48.22 µs" is 48,220 of something that ends with _ns.
const read = (text) => {
  const match = /^(-?[\d,.]+(?:e-?\d+)?)(?: (ns|µs|ms|s|%|×|GB\/s))?$/.exec(text);
  if (!match) return null;
  const scale = { ns: 1, µs: 1e3, ms: 1e6, s: 1e9, "%": 0.01 }[match[2]] ?? 1;
  return Number(match[1].replaceAll(",", "")) * scale;
};

const named = (element) => `${element.tagName.toLowerCase()}.${element.getAttribute("class") ?? ""}: ${element.textContent.trim().slice(0, 40)}`;

// Elements that reach out of the page and are in no box of their own that scrolls or is cut.
const tooWide = (document, width) => {
  const isBoxed = (element) => {
    for (let at = element.parentElement; at; at = at.parentElement) {
      if (at.ownerDocument.defaultView.getComputedStyle(at).overflowX !== "visible") return true;
    }
    return false;
  };
  const wide = [...document.querySelectorAll("body *")].filter((element) => {
    const box = element.getBoundingClientRect();
    return box.width > 0 && (box.right > width + 0.5 || box.left < -0.5) && !isBoxed(element);
  });
  const scrolls = document.documentElement.scrollWidth > width ? [`page: ${document.documentElement.scrollWidth}`] : [];
  return scrolls.concat(wide.map(named));
};

// What can be seen and measured whether scripts run or not.
const look = (document, width) => {
  const cells = [...document.querySelectorAll("[data-key]")];
  const isWrong = (cell) => {
    const wanted = figure(cell.dataset.key);
    return typeof wanted === "number" ? Number(cell.dataset.value) !== wanted : cell.dataset.value !== String(wanted);
  };
  // What is written has four digits, below 1 three, or is whole; a share of 1 has one decimal of a percent.
  const isMiswritten = (cell) => {
    const wanted = figure(cell.dataset.key);
    if (typeof wanted !== "number") return cell.textContent !== String(wanted);
    const isPercent = cell.dataset.key.endsWith(".percent");
    const shown = isPercent ? read(cell.textContent.replace(" %", "")) : read(cell.textContent);
    const isShare = cell.textContent.endsWith("%") && !isPercent;
    const slack = isShare ? 0.00051 : Math.abs(wanted) * (Math.abs(wanted) < 1 ? 0.006 : 0.00051);
    return shown === null || Math.abs(shown - wanted) > slack;
  };
  const charts = [...document.querySelectorAll("figure.chart")];
  const isEmpty = (chart) => {
    const marks = [...chart.querySelectorAll("svg path, svg circle, svg rect:not(.paper)")].filter((mark) => {
      const box = mark.getBoundingClientRect();
      return box.width + box.height > 0;
    });
    return marks.length < 3 || chart.querySelectorAll("svg text").length === 0 || chart.querySelector("svg").getBoundingClientRect().height < 50;
  };
  return {
    width,
    figures: cells.length,
    wrong_figures: cells.filter(isWrong).map((cell) => cell.dataset.key),
    wrong_texts: cells.filter(isMiswritten).map((cell) => `${cell.dataset.key}: ${cell.textContent} of ${cell.dataset.value}`),
    charts: charts.length,
    empty_charts: charts.filter(isEmpty).map((chart) => chart.id),
    unnamed: charts.filter((chart) => !chart.querySelector("svg[role=img][aria-label]")).map((chart) => chart.id),
    tables_without_scopes: [...document.querySelectorAll("table")].filter((table) => !table.querySelector("thead th[scope=col]") || table.querySelector("tbody tr > td:first-child")).length,
    tools: document.querySelectorAll(".tools").length,
    too_wide: tooWide(document, width),
    requests: document.defaultView.performance.getEntriesByType("resource").map((entry) => entry.name),
  };
};

// Whether pointing at the chart's first value says it, in words.
const isMute = (chart) => {
  const svg = chart.querySelector("svg");
  const panels = JSON.parse(chart.querySelector("script.hover").textContent);
  const panel = panels.find(({ series }) => series.some(({ points }) => points.length > 0));
  if (!panel) return true;
  const { points } = panel.series.find(({ points }) => points.length > 0);
  const point = points[Math.floor(points.length / 2)];
  const View = chart.ownerDocument.defaultView;
  const at = new View.DOMPoint(point.x, point.y).matrixTransform(svg.getScreenCTM());
  svg.dispatchEvent(new View.MouseEvent("mousemove", { clientX: at.x, clientY: at.y, bubbles: true }));
  const tip = chart.querySelector(".tip");
  // A mouse stands on whole pixels: where points are dense, it is at a neighbour.
  const near = points.filter(({ x }) => Math.abs(x - point.x) * svg.getScreenCTM().a <= 2);
  return tip.hidden || !near.some(({ text }) => tip.textContent.includes(text)) || tip.getBoundingClientRect().width < 20;
};

// Whether buttons, keys or the wheel leave the chart as it is, or showing all again does not show all.
const isRigid = (chart) => {
  const svg = chart.querySelector("svg");
  const View = chart.ownerDocument.defaultView;
  const shown = () => svg.getAttribute("viewBox").split(" ").map(Number);
  const home = shown();
  const press = (name) => chart.querySelector(`button[aria-label="${name}"]`).click();
  const key = (name) => svg.dispatchEvent(new View.KeyboardEvent("keydown", { key: name, bubbles: true, cancelable: true }));
  const box = svg.getBoundingClientRect();
  const wheel = () => svg.dispatchEvent(new View.WheelEvent("wheel", { deltaY: -200, ctrlKey: true, clientX: box.x + box.width / 2, clientY: box.y + box.height / 2, bubbles: true, cancelable: true }));
  const ways = [
    [() => press("Zoom in"), () => press("Zoom out")],
    [() => key("+"), () => key("0")],
    [wheel, () => press("Show all of the chart")],
  ];
  return ways.some(([closer, back]) => {
    closer();
    const near = shown();
    back();
    const far = shown();
    return !(near[2] < home[2] && near[3] < home[3]) || Math.abs(far[2] - home[2]) > 1e-6;
  });
};

const frame = (width, scripts) =>
  new Promise((done) => {
    const made = document.createElement("iframe");
    made.style.cssText = `width:${width}px;height:900px;border:0`;
    // Of the same origin, so that it can be looked at, while none of its own scripts run.
    if (!scripts) made.setAttribute("sandbox", "allow-same-origin");
    made.addEventListener("load", () => {
      const inside = made.contentDocument;
      const charts = [...inside.querySelectorAll("figure.chart")];
      const seen = { scripts, ...look(inside, width) };
      if (scripts) {
        seen.mute = charts.filter(isMute).map((chart) => chart.id);
        seen.rigid = charts.filter(isRigid).map((chart) => chart.id);
        // With everything unfolded, too.
        inside.querySelectorAll("details").forEach((each) => (each.open = true));
        seen.too_wide = seen.too_wide.concat(tooWide(inside, width));
      }
      done(seen);
    });
    made.srcdoc = REPORT;
    document.body.append(made);
  });

(async () => {
  const frames = [];
  for (const width of [1280, 390]) for (const scripts of [true, false]) frames.push(await frame(width, scripts));
  document.getElementById("found").textContent = JSON.stringify({ frames });
})();
