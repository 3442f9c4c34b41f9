// How a chart is drawn: from what it says (chartspec.js) to ECharts' options. The look comes from
// CSS variables, so that themes are in one place.

import { localHour, share } from "./chartspec.js";

const tones = ["accent", "previous", "good", "bad", "warn", "muted", "2", "3", "4", "5", "6", "7", "8"];

// lookNow reads the colours and the font of the page as it is now.
export function lookNow() {
	const css = getComputedStyle(document.documentElement);
	const v = (name) => css.getPropertyValue(name).trim();
	const tone = Object.fromEntries(tones.map((n) => [n, v(/^\d$/.test(n) ? `--chart-${n}` : `--chart-${n}`)]));
	tone["1"] = tone.accent;
	return {
		tone, font: getComputedStyle(document.body).fontFamily, text: v("--text"), quiet: v("--text-2"), surface: v("--surface"),
		grid: v("--chart-grid"), axis: v("--chart-axis"), heat: [0, 1, 2, 3, 4, 5].map((i) => v(`--chart-heat-${i}`)),
		still: matchMedia("(prefers-reduced-motion: reduce)").matches,
	};
}

let pen = null;

// widthOf measures a text as the chart writes it.
export function widthOf(text, look, size = 12, weight = 400) {
	pen ??= document.createElement("canvas").getContext("2d");
	pen.font = `${weight} ${size}px ${look.font}`;
	return pen.measureText(text).width;
}

// heatColour mixes the colours of the sequential scale; x is from 0 to 1.
export function heatColour(look, x) {
	const at = Math.max(0, Math.min(1, x)) * (look.heat.length - 1);
	const i = Math.min(Math.floor(at), look.heat.length - 2);
	const parse = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
	const a = parse(look.heat[i]), b = parse(look.heat[i + 1]);
	return `#${a.map((c, k) => Math.round(c + (b[k] - c) * (at - i)).toString(16).padStart(2, "0")).join("")}`;
}

// onColour is black or white, whichever is read better on a colour.
function onColour(hex) {
	const [r, g, b] = [1, 3, 5].map((k) => (parseInt(hex.slice(k, k + 2), 16) / 255) ** 2.2);
	return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.2 ? "#10151d" : "#ffffff";
}

// heatExtent is what the scale goes from and to: shares and counts from 0.
export function heatExtent(r) {
	const there = r.values.flat().filter((v) => v !== null);
	return [Math.min(0, ...there), Math.max(0, ...there) || 1];
}

// endText is what stands at the end of a ranking's bar.
function endText(r, s, i) {
	return s.values[i] === null ? "" : r.yText.full(s.values[i]) + share(r, s, i);
}

// room says how much of the width is for the names of a ranking, and at the bars' ends.
function room(r, look, width) {
	const s = r.series.filter((e) => !r.stacked);
	const ends = s.flatMap((e) => e.tone === "previous" ? [] : e.values.map((v, i) => v === null ? 0 : widthOf(endText(r, e, i), look)));
	const names = r.x.values.map((v) => widthOf(r.xText.short(v), look));
	return { names: Math.min(Math.max(0, ...names) + 2, Math.max(90, width * 0.42)), ends: Math.max(0, ...ends) + 10 };
}

// naturalHeight is how high a ranking wants to be; null where the height is free.
export function naturalHeight(spec) {
	return spec.type === "bars" && spec.horizontal ? Math.max(72, spec.x.values.length * (spec.stacked || spec.series.length === 1 ? 30 : 36) + 12)
		: null;
}

// ticks says which values of an axis have a text: as many as there is room for, at round places.
function ticks(r, look, width) {
	const n = r.x.values.length;
	const texts = r.x.values.map((v) => r.xText.short(v));
	const widest = Math.max(1, ...texts.map((s) => widthOf(s, look)));
	const fit = Math.max(1, Math.floor(width / (widest + 14)));
	const first = (steps) => steps.find((s) => n / s <= fit) ?? Math.ceil(n / fit);
	if (r.x.kind === "hour") {
		const step = first([1, 2, 3, 4, 6, 12, 24, 48, 72, 168]);
		if (step < 24) return (i) => localHour(r.x.values[i]) % step === 0;
		const midnight = r.x.values.findIndex((v) => localHour(v) === 0);
		return (i) => i >= midnight && (i - midnight) % step === 0;
	}
	if (r.x.kind === "hour-of-day") {
		const step = first([1, 2, 3, 4, 6, 12]);
		return (i) => Number(r.x.values[i]) % step === 0;
	}
	if (r.x.kind === "day") {
		const step = first([1, 2, 3, 4, 5, 7, 10, 14, 21, 28, 30, 60, 90]);
		return (i) => (n - 1 - i) % step === 0;
	}
	// Names are cut short rather than left out, unless nothing would be left of them.
	const step = r.type !== "heatmap" && r.x.kind === "text" && width / n >= Math.min(widest, 44) ? 1 : first([1, 2, 3, 4, 5, 10, 20, 50]);
	return (i) => i % step === 0;
}

function text(look, more) {
	return { color: look.quiet, fontFamily: look.font, fontSize: 12, ...more };
}

function categoryAxis(r, look, width) {
	const shown = ticks(r, look, width);
	const each = width / Math.max(1, r.x.values.length);
	const words = (r.x.kind ?? "text") === "text" && r.type !== "heatmap";
	return {
		type: "category", data: r.x.values.map((_, i) => i), boundaryGap: r.type !== "line" || r.series?.some((s) => s.type === "bars"),
		axisLine: { lineStyle: { color: look.axis } }, axisTick: { show: false },
		axisLabel: text(look, {
			interval: (i) => shown(i), formatter: (i) => r.xText.short(r.x.values[i]), margin: 8,
			...(words ? { width: Math.max(24, each - 8), overflow: "truncate" } : {}),
		}),
	};
}

function valueAxis(r, look, axis, texts, { right = false, values }) {
	const there = values.filter((v) => v !== null);
	const whole = !axis?.percent && there.every(Number.isInteger);
	const floor = axis?.min ?? (axis?.percent ? 0 : undefined);
	// Shares are of a whole, which the axis shows; a ranking has no axis, and compares its bars.
	const top = axis?.max ?? (axis?.percent && !(r.horizontal && !r.stacked) && Math.max(0, ...there) <= 1 ? 1 : there.every((v) => v === 0) ? 1 : undefined);
	return {
		type: "value", position: right ? "right" : undefined, min: floor, max: top,
		interval: axis?.percent && floor === 0 && top === 1 ? 0.25 : undefined,
		minInterval: whole ? 1 : undefined, splitNumber: 4, scale: false,
		axisLine: { show: false }, axisTick: { show: false },
		splitLine: { show: !right, lineStyle: { color: look.grid, width: 1 } },
		axisLabel: text(look, { formatter: (v) => texts.tick(v), margin: 8 }),
		name: axis?.label, nameLocation: "end", nameGap: 10,
		nameTextStyle: text(look, { align: right ? "right" : "left", padding: right ? [0, -2, 0, 0] : [0, 0, 0, -2] }),
	};
}

// stacks says whether a series is one of those that are put on top of each other.
function stacks(r, s) {
	return Boolean(r.stacked) && s.tone !== "previous" && !s.y2 && s.type === r.type;
}

const dashes = ["solid", [8, 3], [2, 3], [9, 3, 2, 3], [5, 5], [1, 4]];

function lineSeries(r, s, look, index, labelled) {
	const colour = look.tone[s.tone] ?? look.tone.accent;
	const old = s.tone === "previous";
	const alone = (i) => s.values[i] !== null && (s.values[i - 1] ?? null) === null && (s.values[i + 1] ?? null) === null;
	const stacked = stacks(r, s);
	const patterned = !labelled && !stacked && r.series.filter((e) => e.type === "line").length > 2;
	return {
		id: `line${index}`, type: "line", name: s.name, data: s.values, yAxisIndex: s.y2 ? 1 : 0, stack: stacked ? "all" : undefined,
		connectNulls: false, showSymbol: s.values.some((_, i) => alone(i)), symbol: "circle", symbolSize: (_, p) => alone(p.dataIndex) ? 5 : 0,
		lineStyle: { width: old ? 1.5 : 2, color: colour, type: s.dashed || old ? [5, 4] : patterned ? dashes[index % dashes.length] : "solid" },
		itemStyle: { color: colour }, areaStyle: s.area || stacked ? { color: colour, opacity: stacked ? 0.75 : 0.1 } : undefined,
		z: r.stacked && !stacked ? 4 : old ? 2 : 3, emphasis: { disabled: true }, silent: true,
	};
}

function barSeries(r, s, look, index, last) {
	const colour = look.tone[s.tone] ?? look.tone.accent;
	const round = r.horizontal ? [0, 3, 3, 0] : [3, 3, 0, 0];
	return {
		id: `bars${index}`, type: "bar", name: s.name, data: s.values.map((v) => v === null || r.stacked && v === 0 ? "-" : v), stack: stacks(r, s) ? "all" : undefined, yAxisIndex: !r.horizontal && s.y2 ? 1 : 0,
		barMaxWidth: r.horizontal ? 18 : 36, barMinHeight: r.stacked ? 0 : 1, barCategoryGap: r.horizontal ? "38%" : "28%",
		itemStyle: {
			color: colour, borderRadius: !r.stacked || last ? round : 0, borderColor: r.stacked ? look.surface : undefined, borderWidth: r.stacked ? 0.5 : 0,
		},
		label: r.horizontal && !r.stacked && !r.compared ? {
			show: true, position: "right", distance: 6, ...text(look, { color: look.text }), formatter: (p) => endText(r, s, p.dataIndex),
		} : undefined,
		emphasis: { disabled: true }, silent: true, cursor: "default",
	};
}

// before marks, across each bar of named things, where the previous period was: a line between
// names would say what is not so.
function before(r, s, look, index, size) {
	const thick = Math.min(r.horizontal ? 22 : 40, Math.max(8, size / Math.max(1, r.x.values.length) * 0.8));
	return {
		id: `before${index}`, type: "scatter", name: s.name, data: s.values.map((v, i) => r.horizontal ? [v ?? "-", i] : [i, v ?? "-"]),
		symbol: "rect", symbolSize: r.horizontal ? [3, thick] : [thick, 3], itemStyle: { color: look.tone.previous, opacity: 1 }, z: 4,
		emphasis: { disabled: true }, silent: true,
	};
}

function cartesian(r, look, { width, height }, labels) {
	const series = r.series.filter((s) => !r.hidden?.has(s.name));
	const named = (r.x.kind ?? "text") === "text";
	r.compared = r.horizontal && !r.stacked && series.length > 1 && series.some((s) => s.tone === "previous");
	const values = (right) => series.filter((s) => Boolean(s.y2) === right).flatMap((s) => s.values);
	const sums = r.stacked ? r.x.values.map((_, i) => series.reduce((a, s) => stacks(r, s) ? a + (s.values[i] ?? 0) : a, 0)) : [];
	const lastStacked = series.findLastIndex((s) => stacks(r, s));
	const drawn = series.map((s, i) => {
		const at = r.series.indexOf(s);
		if (s.tone === "previous" && named && r.type === "bars") return before(r, s, look, at, r.horizontal ? height : width);
		return s.type === "line" ? lineSeries(r, s, look, at, Boolean(labels)) : barSeries(r, s, look, at, i === lastStacked);
	});
	// A line over bars is edged with the colour of the ground, to be seen on both.
	if (drawn.some((d) => d.type === "bar")) {
		for (const d of drawn.filter((e) => e.type === "line")) {
			drawn.push({ ...d, id: `${d.id}-edge`, lineStyle: { width: d.lineStyle.width + 3, color: look.surface, opacity: 0.75 }, itemStyle: { opacity: 0 }, areaStyle: undefined, z: d.z - 0.5 });
		}
	}
	const category = categoryAxis(r, look, width);
	const value = valueAxis(r, look, r.y, r.yText, { values: r.stacked ? [...sums, ...series.filter((s) => !stacks(r, s) && !s.y2).flatMap((s) => s.values)] : values(false) });
	const has2 = series.some((s) => s.y2);
	let right = has2 ? 0 : 10;
	if (labels) {
		for (const l of labels) right = Math.max(right, widthOf(l.text, look) + 12);
		drawn.forEach((d) => {
			const l = labels.find((e) => e.name === d.name);
			if (l && d.type === "line") d.endLabel = { show: true, formatter: () => l.text, distance: 6, offset: [0, l.offset ?? 0], ...text(look, { color: look.text }) };
		});
	}
	for (const [i, m] of (r.marks ?? []).entries()) {
		const index = r.x.values.findIndex((v) => v === m.at);
		if (index < 0 || r.horizontal) continue;
		drawn.push({
			id: `mark${i}`, type: "bar", data: r.x.values.map((_, k) => k === index ? 1 : "-"), xAxisIndex: 0, yAxisIndex: has2 ? 2 : 1, barWidth: 1, barGap: "-100%",
			itemStyle: { color: look.quiet }, silent: true, z: 1, animation: false,
			label: { show: Boolean(m.label), position: index > r.x.values.length * 0.7 ? "insideTopRight" : "insideTopLeft", distance: 6, formatter: () => m.label, ...text(look, { fontSize: 11 }) },
		});
	}
	const fit = { outerBoundsMode: "same", outerBoundsContain: "axisLabel" };
	if (r.horizontal) {
		const { names, ends } = room(r, look, width);
		return {
			grid: { left: 0, right: r.stacked ? 10 : r.compared ? 2 : ends, top: 2, bottom: 4, ...fit },
			xAxis: { ...value, show: Boolean(r.stacked), name: undefined, splitLine: { show: Boolean(r.stacked), lineStyle: { color: look.grid } } },
			yAxis: [{
				...category, inverse: true, axisLine: { show: false },
				axisLabel: text(look, { color: look.text, interval: 0, width: names, overflow: "truncate", margin: 10, formatter: (i) => r.xText.short(r.x.values[i]) }),
			}, ...(r.compared ? [{
				// A mark of the period before would hide a number at the end of its bar.
				...category, inverse: true, axisLine: { show: false }, position: "right",
				axisLabel: text(look, { color: look.text, interval: 0, margin: ends - 2, align: "right", formatter: (i) => endText(r, series.find((s) => s.tone !== "previous") ?? series[0], i) }),
			}] : [])],
			series: drawn,
		};
	}
	const yAxis = [value];
	if (has2) yAxis.push(valueAxis(r, look, r.y2, r.y2Text, { right: true, values: values(true) }));
	if (r.marks?.length) yAxis.push({ type: "value", show: false, min: 0, max: 1 });
	return { grid: { left: 0, right, top: r.y?.label || r.y2?.label ? 28 : 12, bottom: 5, ...fit }, xAxis: category, yAxis, series: drawn };
}

function heatmap(r, look, { width, height }) {
	const [low, high] = heatExtent(r);
	const names = Math.min(width * 0.34, Math.max(0, ...r.y.values.map((v) => widthOf(r.yText.short(v), look))) + 4);
	const cell = (width - names - 12) / Math.max(1, r.x.values.length);
	const data = [];
	let widest = 0;
	r.values.forEach((row, yi) => row.forEach((v, xi) => {
		if (v === null) return;
		const colour = heatColour(look, (v - low) / (high - low));
		widest = Math.max(widest, widthOf(r.text(v), look, 11));
		data.push({ value: [xi, yi, v], itemStyle: { color: colour }, label: { color: onColour(colour) } });
	}));
	const rows = height / Math.max(1, r.y.values.length);
	return {
		grid: { left: 0, right: 2, top: 2, bottom: 5, outerBoundsMode: "same", outerBoundsContain: "axisLabel" },
		xAxis: { ...categoryAxis(r, look, width - names), boundaryGap: true, axisLine: { show: false } },
		yAxis: {
			type: "category", inverse: true, data: r.y.values.map((_, i) => i), axisLine: { show: false }, axisTick: { show: false },
			axisLabel: text(look, { interval: (i) => rows >= 15 || i % Math.ceil(15 / rows) === 0, width: names, overflow: "truncate", formatter: (i) => r.yText.short(r.y.values[i]), margin: 8 }),
		},
		series: [{
			id: "heat", type: "heatmap", data, itemStyle: { borderColor: look.surface, borderWidth: 1, borderRadius: 2 },
			label: { show: cell > widest + 8 && rows > 18, formatter: (p) => r.text(p.value[2]), fontFamily: look.font, fontSize: 11 },
			emphasis: { disabled: true }, silent: true,
		}],
	};
}

// radius is how large a point is: its area goes with its size.
export function radius(r, p, { width, height }) {
	const top = Math.max(1e-9, ...r.points.map((e) => e.size));
	const most = r.size ? Math.max(14, Math.min(width / 9, height / 5, 52)) : 5;
	return r.size ? Math.max(5, most * Math.sqrt(p.size / top)) : most;
}

function scatter(r, look, size, places) {
	const edge = Math.max(...r.points.map((p) => radius(r, p, size))) + 6;
	// pad makes room for the largest point on both sides.
	const pad = (values, pixels) => {
		const low = Math.min(...values), high = Math.max(...values), by = (high - low || 1) * edge / Math.max(40, pixels - 2 * edge);
		return { min: low - by, max: high + by };
	};
	const axis = (a, values, format, pixels) => ({
		type: "value", ...(a?.zero ? { min: 0 } : pad(values, pixels)), splitNumber: 4, axisTick: { show: false },
		axisLine: { show: true, onZero: false, lineStyle: { color: look.axis } }, splitLine: { show: !a?.hideTicks, lineStyle: { color: look.grid } },
		axisLabel: text(look, { show: !a?.hideTicks, formatter: format, showMinLabel: false, showMaxLabel: false }),
	});
	return {
		grid: { left: 1, right: 8, top: 8, bottom: 5, outerBoundsMode: "same", outerBoundsContain: "axisLabel" },
		xAxis: axis(r.x, r.points.map((p) => p.x), r.xFormat, size.width), yAxis: axis(r.y, r.points.map((p) => p.y), r.yFormat, size.height),
		series: [{
			id: "points", type: "scatter", clip: false, silent: true, emphasis: { disabled: true },
			data: r.points.map((p, i) => {
				const colour = look.tone[String(p.tone ?? "accent")] ?? look.tone.accent;
				return {
					value: [p.x, p.y], symbolSize: 2 * radius(r, p, size), itemStyle: { color: colour, opacity: 0.72, borderColor: look.surface, borderWidth: 1.5 },
					label: { show: Boolean(places?.[i]), position: places?.[i] ?? "right", distance: 5, formatter: () => wrapped(p.name), ...text(look, { color: look.text, lineHeight: 15, align: places?.[i] === "left" ? "right" : places?.[i] === "right" ? "left" : "center" }) },
				};
			}),
		}],
	};
}

// wrapped writes a long name in lines of about equal length.
function wrapped(name, most = 20) {
	const lines = [], wide = name.length / Math.ceil(name.length / most) + 3;
	for (const word of name.split(" ")) {
		const last = lines.length - 1;
		if (last >= 0 && lines[last].length + 1 + word.length <= wide) lines[last] += ` ${word}`;
		else lines.push(word);
	}
	return lines.join("\n");
}

// placeLabels finds a side for the name of each point where it hides no other; what finds none
// is named when it is looked at only.
export function placeLabels(r, look, size, pixel) {
	const taken = r.points.map((p, i) => {
		const [x, y] = pixel(i), d = radius(r, p, size);
		return { i, x0: x - d, x1: x + d, y0: y - d, y1: y + d };
	});
	const places = {};
	const order = r.points.map((p, i) => i).sort((a, b) => r.points[b].size - r.points[a].size);
	for (const i of order) {
		if (r.points[i].labelled === false) continue;
		const lines = wrapped(r.points[i].name).split("\n");
		const w = Math.max(...lines.map((l) => widthOf(l, look))) + 4, tall = 16 * lines.length, [x, y] = pixel(i), d = radius(r, r.points[i], size) + 5;
		const sides = {
			right: [x + d, y - tall / 2], left: [x - d - w, y - tall / 2], top: [x - w / 2, y - d - tall], bottom: [x - w / 2, y + d],
		};
		for (const [side, [x0, y0]] of Object.entries(sides)) {
			const box = { x0, x1: x0 + w, y0, y1: y0 + tall };
			if (box.x0 < 0 || box.x1 > size.width || box.y0 < 0 || box.y1 > size.height) continue;
			if (taken.some((b) => b.i !== i && b.x0 < box.x1 && b.x1 > box.x0 && b.y0 < box.y1 && b.y1 > box.y0)) continue;
			places[i] = side;
			taken.push({ i: -1, ...box });
			break;
		}
	}
	return places;
}

function flow(r, look, { width }) {
	// A formatter of nodes is a text in which braces mean something.
	const lines = (e) => wrapped(e.name.replaceAll("{", "("), 22);
	const names = (list) => Math.min(width * 0.34, Math.max(0, ...list.flatMap((e) => lines(e).split("\n")).map((l) => widthOf(l, look))) + 14);
	const ids = [...new Set([...r.from, ...r.to].map((e) => e.id))].filter((id) => id !== "");
	const tone = (e) => look.tone[String(e.tone ?? (e.id === "" ? "previous" : ids.indexOf(e.id) % 8 + 1))];
	const used = (side) => new Set(r.flows.map((f) => f[side]));
	const node = (side, list) => list.filter((e) => used(side).has(e.id)).map((e) => ({
		name: `${side}:${e.id}`, itemStyle: { color: tone(e), borderWidth: 0 }, depth: side === "from" ? 0 : 1,
		label: { position: side === "from" ? "left" : "right", formatter: lines(e), width: names(list) - 10, overflow: "truncate", ...text(look, { color: look.text, lineHeight: 15 }) },
	}));
	return {
		series: [{
			id: "flow", type: "sankey", left: names(r.from), right: names(r.to), top: 6, bottom: 6, nodeWidth: 12, nodeGap: 14, layoutIterations: 0,
			draggable: false, roam: false, data: [...node("from", r.from), ...node("to", r.to)],
			links: r.flows.map((f) => ({ source: `from:${f.from}`, target: `to:${f.to}`, value: f.value })),
			lineStyle: { color: "source", opacity: 0.32, curveness: 0.5 }, emphasis: { focus: "none", lineStyle: { opacity: 0.6 } },
		}],
	};
}

// option returns what ECharts draws; extra has what a second pass has found: names at the ends
// of lines, places of labels.
export function option(r, look, size, extra = {}) {
	const made = r.type === "heatmap" ? heatmap(r, look, size)
		: r.type === "scatter" ? scatter(r, look, size, extra.places)
		: r.type === "flow" ? flow(r, look, size)
		: cartesian(r, look, size, extra.labels);
	return {
		backgroundColor: "transparent", textStyle: { fontFamily: look.font }, animation: !look.still && extra.animate !== false,
		animationDuration: 350, animationDurationUpdate: 300, animationEasing: "cubicOut", ...made,
	};
}

// endLabels says where names can stand at the ends of lines: for two to four lines that end at
// the right, where the chart is wide. Those that would touch are moved apart.
export function endLabels(r, { width }, pixel) {
	if (r.type !== "line" || r.stacked || width < 520) return null;
	const lines = r.series.filter((s) => s.type === "line" && !r.hidden?.has(s.name));
	if (lines.length !== r.series.length || lines.length < 2 || lines.length > 4 || lines.some((s) => s.name.length > 26)) return null;
	const ends = lines.map((s) => {
		const last = s.values.findLastIndex((v) => v !== null);
		return { name: s.name, text: s.name, last, y: last < 0 ? null : pixel ? pixel(last, s) : 0 };
	});
	if (ends.some((e) => e.last < r.x.values.length * 0.9)) return null;
	if (!pixel) return ends;
	const sorted = [...ends].sort((a, b) => a.y - b.y);
	let at = -Infinity;
	for (const e of sorted) {
		const y = Math.max(e.y, at + 15);
		e.offset = y - e.y;
		at = y;
	}
	const over = sorted.at(-1).offset;
	if (over > 15) sorted.forEach((e) => { e.offset -= over / 2; });
	return ends;
}
