// Charts: drawn by ECharts on a canvas, with legend, tooltip, reading by keyboard and description
// as elements of the page. A spec says what is to be seen (chartspec.js), never how.

import { h, put, svg } from "./dom.js";
import { endLabels, heatExtent, lookNow, naturalHeight, option, placeLabels, radius } from "./chartoption.js";
import { asTable, buckets, count, number, read, reading, summary } from "./chartspec.js";
import { fmt } from "./format.js";
import { t } from "./i18n.js";

export { buckets };

let library = null;

// ready loads the library and the page's font, once, when the first chart wants to be drawn.
function ready() {
	library ??= Promise.all([import("../vendor/echarts/echarts.js"), document.fonts?.ready]).then(([lib]) => lib, (err) => {
		library = null;
		throw err;
	});
	return library;
}

// turns lets charts be drawn one after another, so that a page of many stays responsive.
let turns = Promise.resolve();
const turn = () => (turns = turns.then(() => new Promise((go) => setTimeout(go, 0))));

// chart returns an element that shows a spec; update shows another. It ends with the signal, or
// by dispose.
export function chart(first, { height, title = "", signal } = {}) {
	let r = read(first), drawn = null, at = -1, gone = false, look = null, size = { width: 0, height: 0 }, marked = null;
	const hidden = new Set();
	const plot = h("div", { class: "chart-plot", role: "img", tabindex: "0" });
	const cross = h("div", { class: "chart-cross", hidden: true });
	const dots = h("div", { class: "chart-dots" });
	const tip = h("div", { class: "chart-tip", hidden: true, "aria-hidden": "true" });
	const said = h("div", { class: "sr-only", "aria-live": "polite" });
	const key = h("div", { class: "chart-key" });
	const node = h("div", { class: "chart chart-waiting", "aria-busy": "true" }, key, h("div", { class: "chart-area" }, plot, cross, dots, tip), said);

	// settle takes over what a spec says beside its drawing.
	function settle() {
		r.hidden = hidden;
		plot.setAttribute("aria-label", [title, summary(r), t("chart.keys")].filter(Boolean).join(". ").replaceAll("..", "."));
		plot.classList.toggle("chart-choose", Boolean(r.onSelect));
		const wanted = height ?? naturalHeight(r) ?? 260;
		plot.style.height = `${r.horizontal ? wanted : Math.min(wanted, innerWidth < 720 ? 300 : wanted)}px`;
		node.summary = summary(r);
	}

	let keyed = "";

	// keys draws the legend, if what it shows has changed: a button that has the focus keeps it.
	function keys() {
		const now = r.type === "heatmap" ? heatExtent(r).join() : !r.series || r.series.length < 2 || endLabels(r, size) ? "" : r.series.map((s) => s.name + s.tone + hidden.has(s.name)).join("|");
		if (now === keyed) return;
		keyed = now;
		if (key.contains(document.activeElement)) return;
		put(key);
		if (r.type === "heatmap") {
			const [low, high] = heatExtent(r);
			put(key, h("div", { class: "chart-scale" }, r.label && h("span", { class: "chart-scale-label" }, r.label), h("span", null, r.text(low)), h("span", { class: "chart-scale-bar" }), h("span", null, r.text(high))));
			return;
		}
		if (now === "") return;
		const names = r.series.map((s, i) => h("button", {
			class: "chart-key-entry", type: "button", "aria-pressed": String(!hidden.has(s.name)),
			on: {
				click: (e) => {
					if (hidden.has(s.name)) hidden.delete(s.name);
					else if (hidden.size < r.series.length - 1) hidden.add(s.name);
					e.currentTarget.setAttribute("aria-pressed", String(!hidden.has(s.name)));
					settle();
					draw();
				},
			},
		}, mark(s, i), s.name));
		put(key, h("div", { class: "chart-key-list", role: "group", "aria-label": t("chart.legend") }, names));
	}

	function mark(s) {
		const old = s.tone === "previous", tick = old && s.type === "bars";
		const line = s.type === "line" && !tick && (old || !s.area && !r.stacked);
		return h("span", { class: ["chart-mark", `tone-${s.tone}`, line && "chart-mark-line", line && (s.dashed || old) && "chart-mark-dashed", tick && (r.horizontal ? "chart-mark-tick" : "chart-mark-line")] });
	}

	async function start() {
		const lib = await ready();
		await turn();
		if (gone || !plot.isConnected || plot.clientWidth === 0) return;
		if (!drawn) {
			drawn = lib.init(plot, null, { locale: "EN", renderer: "canvas" });
			if (r.type === "flow") drawn.on("mouseover", hover);
			drawn.on("mouseout", hide);
		}
		draw(true);
	}

	// draw draws twice where the place of a text depends on where the rest has come to lie.
	function draw(anew = false) {
		if (!drawn || gone) return;
		look = lookNow();
		size = { width: plot.clientWidth, height: plot.clientHeight };
		if (size.width === 0) return;
		const shape = `${r.type}|${r.horizontal}|${r.series?.length}`;
		const how = anew || shape !== marked ? { notMerge: true } : { replaceMerge: ["series", "xAxis", "yAxis"] };
		marked = shape;
		const was = at;
		const labels = endLabels(r, size);
		keys();
		drawn.setOption(option(r, look, size, { labels }), how);
		if (labels) {
			const placed = endLabels(r, size, (i, s) => drawn.convertToPixel({ seriesId: `line${r.series.indexOf(s)}` }, [i, s.values[i]])[1]);
			if (placed.some((e) => e.offset)) drawn.setOption(option(r, look, size, { labels: placed }));
		} else if (r.type === "scatter") {
			drawn.setOption(option(r, look, size, { places: placeLabels(r, look, size, spot) }));
		}
		waited();
		hide();
		if (was >= 0 && r.type !== "flow" && (plot.matches(":hover") || document.activeElement === plot)) show(was);
	}

	// spot is where a place of the chart is, in pixels.
	function spot(i) {
		if (r.type === "heatmap") return drawn.convertToPixel({ seriesIndex: 0 }, [i % r.x.values.length, Math.floor(i / r.x.values.length)]);
		if (r.type === "scatter") return drawn.convertToPixel({ seriesIndex: 0 }, [r.points[i].x, r.points[i].y]);
		if (r.type === "flow") return [size.width / 2, 24];
		const s = r.series.find((e) => !hidden.has(e.name));
		const heights = r.series.filter((e) => !hidden.has(e.name) && !e.y2).map((e) => e.values[i]).filter((v) => v !== null);
		const v = r.stacked ? heights.reduce((a, b) => a + b, 0) / 2 : Math.max(0, ...heights);
		return drawn.convertToPixel({ gridIndex: 0, ...(s?.y2 ? { yAxisIndex: 1 } : {}) }, r.horizontal ? [v, i] : [i, v]) ?? [0, 0];
	}

	// under is the place of the chart below a point, -1 if there is none.
	function under(x, y) {
		if (!drawn) return -1;
		if (r.type === "scatter") {
			let best = -1, least = Infinity;
			r.points.forEach((p, i) => {
				const [px, py] = spot(i), d = Math.hypot(px - x, py - y) - radius(r, p, size);
				if (d < Math.min(least, 6)) [best, least] = [i, d];
			});
			return best;
		}
		if (r.type === "flow") return -1;
		const found = drawn.convertFromPixel({ seriesIndex: 0 }, [x, y]);
		if (!found) return -1;
		const clamp = (v, n) => Math.max(0, Math.min(n - 1, Math.round(v)));
		if (r.type === "heatmap") {
			const xi = Math.round(found[0]), yi = Math.round(found[1]);
			return xi < 0 || yi < 0 || xi >= r.x.values.length || yi >= r.y.values.length ? -1 : yi * r.x.values.length + xi;
		}
		return clamp(found[r.horizontal ? 1 : 0], r.x.values.length);
	}

	function show(i, { aloud = false } = {}) {
		if (!drawn || i < 0 || i >= count(r)) return;
		at = i;
		const told = reading(r, i);
		put(tip, h("div", { class: "chart-tip-title" }, told.title),
			h("dl", null, told.rows.map((row) => h("div", null,
				h("dt", null, row.tone && h("span", { class: ["chart-mark", `tone-${row.tone}`, row.dashed && "chart-mark-line chart-mark-dashed"] }), row.name), h("dd", null, row.value)))));
		tip.hidden = false;
		const [x, y] = spot(i);
		place(x, y);
		point(i, x, y);
		if (aloud) said.textContent = [told.title, ...told.rows.map((row) => `${row.name} ${row.value}`.trim())].join(", ");
	}

	function place(x, y) {
		const w = tip.offsetWidth, hh = tip.offsetHeight;
		const beside = x + 14 + w <= size.width ? x + 14 : x - 14 - w;
		tip.style.transform = `translate(${Math.round(Math.max(-4, Math.min(beside, size.width - w + 4)))}px, ${Math.round(Math.max(-8, Math.min(y - hh / 2, size.height - hh)))}px)`;
	}

	// point shows which place of the chart is meant.
	function point(i, x, y) {
		put(dots);
		cross.hidden = true;
		if (r.type === "flow") return;
		if (r.type === "scatter") {
			const d = radius(r, r.points[i], size) + 3;
			put(dots, h("span", { class: "chart-ring", style: { left: `${x - d}px`, top: `${y - d}px`, width: `${2 * d}px`, height: `${2 * d}px` } }));
			return;
		}
		const step = (axis, n) => {
			const a = drawn.convertToPixel({ seriesIndex: 0 }, [0, 0])?.[axis] ?? 0, b = drawn.convertToPixel({ seriesIndex: 0 }, [axis ? 0 : 1, axis ? 1 : 0])?.[axis] ?? a;
			return n > 1 ? Math.abs(b - a) : axis ? size.height : size.width;
		};
		if (r.type === "heatmap") {
			const w = step(0, r.x.values.length), hh = step(1, r.y.values.length);
			put(dots, h("span", { class: "chart-cell", style: { left: `${x - w / 2}px`, top: `${y - hh / 2}px`, width: `${w}px`, height: `${hh}px` } }));
			return;
		}
		cross.hidden = false;
		const bars = r.series.some((s) => s.type === "bars" && !hidden.has(s.name));
		cross.classList.toggle("chart-cross-band", bars);
		const wide = bars ? step(r.horizontal ? 1 : 0, r.x.values.length) : 1;
		Object.assign(cross.style, r.horizontal
			? { left: "0", right: "0", top: `${y - wide / 2}px`, height: `${wide}px`, width: "", bottom: "" }
			: { left: `${x - wide / 2}px`, width: `${wide}px`, top: "8px", bottom: "22px", right: "", height: "" });
		for (const s of r.series) {
			if (s.type !== "line" || r.stacked && r.type === "line" && s.tone !== "previous" || hidden.has(s.name) || (s.values[i] ?? null) === null) continue;
			const p = drawn.convertToPixel({ seriesId: `line${r.series.indexOf(s)}` }, [i, s.values[i]]);
			if (p) dots.append(h("span", { class: ["chart-dot", `tone-${s.tone}`], style: { left: `${p[0]}px`, top: `${p[1]}px` } }));
		}
	}

	function hide() {
		at = -1;
		tip.hidden = true;
		cross.hidden = true;
		put(dots);
	}

	function hover(p) {
		if (p.dataType !== "edge") return hide();
		const i = r.flows.findIndex((f) => `from:${f.from}` === p.data.source && `to:${f.to}` === p.data.target);
		show(i);
		place(p.event.offsetX, p.event.offsetY);
	}

	const inside = (e) => {
		const box = plot.getBoundingClientRect();
		return [e.clientX - box.left, e.clientY - box.top];
	};
	plot.addEventListener("pointermove", (e) => {
		if (r.type === "flow") return;
		const i = under(...inside(e));
		if (i < 0) hide();
		else if (i !== at) show(i);
	});
	plot.addEventListener("pointerleave", hide);
	plot.addEventListener("blur", hide);
	plot.addEventListener("click", (e) => {
		if (r.type !== "flow") select(under(...inside(e)));
	});
	plot.addEventListener("keydown", (e) => {
		const n = count(r), row = r.type === "heatmap" ? r.x.values.length : 1;
		const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: row, ArrowUp: -row, PageDown: row * 7, PageUp: -row * 7 };
		let to = null;
		if (e.key in moves) to = at < 0 ? (moves[e.key] > 0 ? 0 : n - 1) : Math.max(0, Math.min(n - 1, at + moves[e.key]));
		else if (e.key === "Home") to = 0;
		else if (e.key === "End") to = n - 1;
		else if (e.key === "Escape" && at >= 0) hide();
		else if (e.key === "Enter" || e.key === " ") select(at);
		else return;
		e.preventDefault();
		if (to !== null) show(to, { aloud: true });
	});

	function select(i) {
		if (!r.onSelect || i < 0) return;
		if (r.type === "heatmap") r.onSelect(i % r.x.values.length, Math.floor(i / r.x.values.length));
		else r.onSelect(i);
	}

	const recolour = () => draw(true);
	addEventListener("cardlake:theme", recolour);
	const watch = new ResizeObserver(() => {
		if (!plot.isConnected) return;
		if (!drawn) {
			start().catch(failed);
			return;
		}
		if (plot.clientWidth === size.width && plot.clientHeight === size.height) return;
		drawn.resize({ animation: { duration: 0 } });
		draw(true);
	});
	function waited() {
		node.classList.remove("chart-waiting");
		node.removeAttribute("aria-busy");
	}
	function failed() {
		waited();
		put(node, h("p", { class: "chart-failed", role: "alert" }, t("chart.failed")));
	}

	settle();
	watch.observe(plot);

	node.update = (spec) => {
		r = read(spec);
		settle();
		draw();
	};
	node.dispose = () => {
		if (gone) return;
		gone = true;
		watch.disconnect();
		removeEventListener("cardlake:theme", recolour);
		drawn?.dispose();
		drawn = null;
	};
	if (signal?.aborted) node.dispose();
	else signal?.addEventListener("abort", node.dispose, { once: true });
	node.table = () => asTable(r);
	node.image = (about = {}) => image(drawn, r, { look: lookNow(), size, ...about });
	return node;
}

// image draws the chart with its title, and what it is of, at twice the size.
function image(drawn, r, { look, size, title = "", lines = [] }) {
	const pad = 24, keyed = r.series?.length > 1 && !endLabels(r, size), scaled = r.type === "heatmap";
	const head = pad + (title ? 28 : 0) + lines.length * 18 + (keyed || scaled ? 26 : 0) + 8;
	const canvas = document.createElement("canvas");
	canvas.width = 2 * (size.width + 2 * pad);
	canvas.height = 2 * (size.height + head + pad);
	const pen = canvas.getContext("2d");
	pen.scale(2, 2);
	pen.fillStyle = look.surface;
	pen.fillRect(0, 0, canvas.width, canvas.height);
	pen.textBaseline = "middle";
	let y = pad;
	const write = (s, x, weight, points, colour) => {
		pen.font = `${weight} ${points}px ${look.font}`;
		pen.fillStyle = colour;
		pen.fillText(s, x, y);
		return pen.measureText(s).width;
	};
	if (title) {
		write(title, pad, 600, 17, look.text);
		y += 25;
	}
	for (const line of lines) {
		write(line, pad, 400, 12, look.quiet);
		y += 18;
	}
	y += 6;
	let x = pad;
	if (keyed) {
		for (const s of r.series) {
			if (r.hidden.has(s.name)) continue;
			pen.fillStyle = look.tone[s.tone] ?? look.tone.accent;
			pen.fillRect(x, s.type === "line" ? y - 1 : y - 5, 14, s.type === "line" ? 2 : 10);
			x += 20;
			x += write(s.name, x, 400, 12, look.text) + 18;
		}
	} else if (scaled) {
		const [low, high] = heatExtent(r);
		if (r.label) x += write(r.label, x, 400, 12, look.quiet) + 10;
		x += write(r.text(low), x, 400, 12, look.text) + 8;
		const scale = pen.createLinearGradient(x, 0, x + 120, 0);
		look.heat.forEach((c, i) => scale.addColorStop(i / (look.heat.length - 1), c));
		pen.fillStyle = scale;
		pen.fillRect(x, y - 5, 120, 10);
		x += 128;
		write(r.text(high), x, 400, 12, look.text);
	}
	pen.drawImage(drawn.renderToCanvas({ pixelRatio: 2, backgroundColor: "transparent" }), pad, head, size.width, size.height);
	return new Promise((done, fail) => canvas.toBlob((blob) => blob ? done(blob) : fail(new Error("the picture can't be made")), "image/png"));
}

// sparkline is a small line without axes, for a number's card or a table's cell.
export function sparkline(values, { label, format = (v) => fmt.count(v), tone = "accent", width = 120, height = 32, zero = true } = {}) {
	const all = values.map(number), there = all.filter((v) => v !== null);
	const low = zero ? Math.min(0, ...there) : Math.min(...there), high = Math.max(...there, low + 1e-9);
	const x = (i) => all.length > 1 ? 2 + i / (all.length - 1) * (width - 4) : width / 2;
	const y = (v) => height - 3 - (v - low) / (high - low) * (height - 6);
	let line = "", area = "", begin = -1;
	all.forEach((v, i) => {
		if (v === null) return;
		const fresh = (all[i - 1] ?? null) === null;
		if (fresh) begin = i;
		line += `${fresh ? "M" : "L"}${x(i).toFixed(1)} ${y(v).toFixed(1)}`;
		if ((all[i + 1] ?? null) === null) {
			area += `M${x(begin).toFixed(1)} ${height - 3}${all.slice(begin, i + 1).map((e, k) => `L${x(begin + k).toFixed(1)} ${y(e).toFixed(1)}`).join("")}L${x(i).toFixed(1)} ${height - 3}Z`;
		}
	});
	const last = all.findLastIndex((v) => v !== null);
	const told = there.length === 0 ? t("chart.noValue") : t("chart.sparkline", { low: format(Math.min(...there)), high: format(Math.max(...there)), last: format(all[last]) });
	return svg("svg", { class: ["sparkline", `tone-${tone}`], viewBox: `0 0 ${width} ${height}`, width, height, preserveAspectRatio: "none", role: "img", "aria-label": label ? `${label}: ${told}` : told },
		svg("path", { class: "sparkline-area", d: area }), svg("path", { class: "sparkline-line", d: line }),
		last >= 0 && svg("circle", { cx: x(last), cy: y(all[last]), r: 2.5 }));
}
