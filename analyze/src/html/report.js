"use strict";
// Hover values and zoom for the charts. Everything else on the page works without.
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const element = (name, attributes) => {
    const made = document.createElementNS(SVG, name);
    for (const key in attributes) made.setAttribute(key, attributes[key]);
    return made;
  };

  // The part of a chart that is shown: its viewBox.
  const view = (svg) => {
    const box = svg.viewBox.baseVal;
    const home = { x: box.x, y: box.y, w: box.width, h: box.height };
    let now = { ...home };
    const show = (next) => {
      const w = Math.min(home.w, Math.max(home.w / 40, next.w));
      const h = (w * home.h) / home.w;
      const within = (at, low, high) => Math.min(high, Math.max(low, at));
      now = { x: within(next.x, home.x, home.x + home.w - w), y: within(next.y, home.y, home.y + home.h - h), w, h };
      svg.setAttribute("viewBox", `${now.x} ${now.y} ${now.w} ${now.h}`);
      svg.classList.toggle("zoomed", w < home.w);
    };
    return {
      zoomed: () => now.w < home.w,
      width: () => now.w,
      reset: () => show(home),
      pan: (dx, dy) => show({ ...now, x: now.x + dx, y: now.y + dy }),
      // What is at (x, y) stays where it is.
      zoom: (factor, x = now.x + now.w / 2, y = now.y + now.h / 2) => {
        const w = Math.min(home.w, Math.max(home.w / 40, now.w / factor));
        const scale = w / now.w;
        show({ x: x - (x - now.x) * scale, y: y - (y - now.y) * scale, w });
      },
    };
  };

  const chart = (figure, number) => {
    const plot = figure.querySelector(".plot");
    const svg = plot.querySelector("svg");
    if (!svg || !svg.viewBox.baseVal || !svg.viewBox.baseVal.width) return;
    const panels = JSON.parse(figure.querySelector("script.hover").textContent);
    const shown = view(svg);
    const tip = document.createElement("div");
    tip.className = "tip";
    tip.setAttribute("role", "status");
    tip.hidden = true;
    plot.append(tip);
    const mark = element("g", { class: "mark" });
    svg.append(mark);
    let cursor = null;

    const place = (event) => new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const hide = () => {
      tip.hidden = true;
      mark.replaceChildren();
      cursor = null;
    };
    const nearest = (points, x, y) => {
      let best = null;
      for (const point of points) {
        const [dx, dy] = [Math.abs(point.x - x), Math.abs(point.y - y)];
        if (!best || dx < best.dx - 0.5 || (dx < best.dx + 0.5 && dy < best.dy)) best = { point, dx, dy };
      }
      return best;
    };
    // What a panel has to say at x; the values are text, never markup.
    const tell = (panel, x, y) => {
      const [left, top, width, height] = panel.plot;
      const found = panel.series
        .map((series) => ({ series, ...nearest(series.points, x, y) }))
        .filter((each) => each.point && each.dx <= Math.max(width * 0.08, 2));
      if (found.length === 0) return hide();
      mark.replaceChildren(element("line", { x1: found[0].point.x, x2: found[0].point.x, y1: top, y2: top + height }));
      const title = document.createElement("b");
      title.textContent = panel.title;
      tip.replaceChildren(title);
      for (const { series, point } of found) {
        mark.append(element("circle", { cx: point.x, cy: point.y, r: shown.width() / 200 }));
        const line = document.createElement("div");
        const swatch = document.createElement("i");
        swatch.style.background = series.color;
        line.append(swatch, `${series.name}: ${point.text}`);
        tip.append(line);
      }
      tip.hidden = false;
      const box = plot.getBoundingClientRect();
      const at = new DOMPoint(found[0].point.x, y).matrixTransform(svg.getScreenCTM());
      const beside = at.x - box.left + 14;
      const fits = beside + tip.offsetWidth < box.width;
      tip.style.left = `${Math.max(4, fits ? beside : at.x - box.left - 14 - tip.offsetWidth)}px`;
      tip.style.top = `${Math.min(Math.max(4, at.y - box.top - 20), Math.max(4, box.height - tip.offsetHeight - 4))}px`;
      cursor = { panel, x: found[0].point.x, y };
    };
    const hover = (event) => {
      const at = place(event);
      const inside = ({ plot: [x, y, w, h] }) => at.x >= x && at.x <= x + w && at.y >= y && at.y <= y + h;
      const panel = panels.find(inside);
      if (panel) tell(panel, at.x, at.y);
      else hide();
    };
    // The next point to the right or left of the one that is told of, over all series of its panel.
    const step = (direction) => {
      const panel = cursor ? cursor.panel : panels[0];
      if (!panel) return;
      const xs = panel.series.flatMap((series) => series.points.map((point) => point.x));
      const from = cursor ? cursor.x : panel.plot[0] - 1;
      const ahead = xs.filter((x) => (x - from) * direction > 0.5);
      if (ahead.length > 0) tell(panel, direction > 0 ? Math.min(...ahead) : Math.max(...ahead), cursor ? cursor.y : panel.plot[1]);
    };

    const tools = document.createElement("div");
    tools.className = "tools";
    const button = (label, name, act) => {
      const made = document.createElement("button");
      made.type = "button";
      made.textContent = label;
      made.setAttribute("aria-label", name);
      made.addEventListener("click", act);
      tools.append(made);
    };
    button("+", "Zoom in", () => shown.zoom(1.6));
    button("\u2212", "Zoom out", () => shown.zoom(1 / 1.6));
    button("Reset", "Show all of the chart", () => shown.reset());
    if (number === 0) tools.append("Click a chart, then wheel or + and \u2212 zoom, dragging moves, arrows go from value to value.");
    figure.insertBefore(tools, plot);

    svg.setAttribute("tabindex", "0");
    svg.addEventListener("mousemove", hover);
    svg.addEventListener("mouseleave", hide);
    // Without a click first the wheel scrolls the page.
    svg.addEventListener("wheel", (event) => {
      if (document.activeElement !== svg && !event.ctrlKey) return;
      event.preventDefault();
      const at = place(event);
      shown.zoom(Math.exp(-event.deltaY / 400), at.x, at.y);
    }, { passive: false });
    svg.addEventListener("pointerdown", (event) => {
      svg.focus({ preventScroll: true });
      if (shown.zoomed()) svg.setPointerCapture(event.pointerId);
    });
    svg.addEventListener("pointermove", (event) => {
      if (!svg.hasPointerCapture(event.pointerId)) return;
      const scale = shown.width() / svg.clientWidth;
      shown.pan(-event.movementX * scale, -event.movementY * scale);
    });
    svg.addEventListener("dblclick", (event) => {
      const at = place(event);
      shown.zoom(2, at.x, at.y);
    });
    svg.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const by = shown.width() / 10;
      const move = (dx, dy) => () => (shown.zoomed() ? shown.pan(dx * by, dy * by) : step(dx || dy));
      const keys = {
        "+": () => shown.zoom(1.6), "=": () => shown.zoom(1.6), "-": () => shown.zoom(1 / 1.6), 0: shown.reset, Escape: hide,
        ArrowLeft: move(-1, 0), ArrowRight: move(1, 0),
      };
      if (shown.zoomed()) Object.assign(keys, { ArrowUp: move(0, -1), ArrowDown: move(0, 1) });
      const act = keys[event.key];
      if (!act) return;
      event.preventDefault();
      act();
    });
    addEventListener("beforeprint", () => {
      shown.reset();
      hide();
    });
  };

  document.querySelectorAll("figure.chart").forEach(chart);
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => (each.open = true)));
})();
