// What a chart says, apart from how it is drawn: its texts, what is read out at each place, the
// sentence that describes it, and the same as a table.

import { fmt } from "./format.js";
import { language, t } from "./i18n.js";

// number reads numbers and decimal strings; what is not there is null, a gap.
export function number(v) {
	if (v === null || v === undefined || v === "") return null;
	const n = Number(v);
	return Number.isFinite(n) ? n : null;
}

// localHour is the hour of an instant in the zone that fmt writes.
export function localHour(v) {
	return Number(/\d+/.exec(fmt.time(v))?.[0] ?? 0);
}

// localDay is the day, in that zone, of an instant at its midnight.
function localDay(v) {
	const at = new Date(v);
	const hour = at.getUTCHours();
	return fmt.dayShort(hour > 12 ? new Date(at.getTime() + (24 - hour) * 3600e3) : at);
}

// axisTexts returns how a value of an axis is written below it, and in full.
export function axisTexts(axis) {
	if (axis.format) return { short: axis.format, long: axis.long ?? axis.format };
	switch (axis.kind) {
	case "hour":
		return { short: (v) => localHour(v) === 0 ? localDay(v) : fmt.time(v), long: (v) => fmt.instant(v) };
	case "day":
		return { short: (v) => fmt.dayShort(v), long: (v) => `${fmt.weekday(v)} ${fmt.day(v)}` };
	case "hour-of-day":
		return { short: (v) => String(v).padStart(2, "0"), long: (v) => fmt.hour(Number(v)) };
	default:
		return { short: String, long: String };
	}
}

// valueTexts returns how a number is written in full, and at the ticks of its axis.
export function valueTexts(axis = {}) {
	if (axis.percent) {
		const full = axis.format ?? ((v) => fmt.percent(v));
		return { full, tick: axis.axis ?? ((v) => fmt.percent(v, 0)) };
	}
	return { full: axis.format ?? ((v) => fmt.count(v)), tick: axis.axis ?? ((v) => fmt.count(v, { compact: true })) };
}

// read makes a spec ready: numbers are numbers, tones are chosen, texts are functions.
export function read(spec) {
	const r = { ...spec, horizontal: Boolean(spec.horizontal) };
	if (spec.type === "line" || spec.type === "bars") {
		let next = 0;
		r.xText = axisTexts(spec.x);
		r.yText = valueTexts(spec.y);
		r.y2Text = valueTexts(spec.y2 ?? spec.y);
		r.series = spec.series.map((s) => ({
			...s, type: s.type ?? spec.type, values: s.values.map(number),
			tone: String(s.tone ?? (next++ === 0 ? "accent" : next)),
		}));
	} else if (spec.type === "heatmap") {
		r.xText = axisTexts(spec.x);
		r.yText = axisTexts(spec.y);
		r.text = spec.percent ? spec.format ?? ((v) => fmt.percent(v)) : spec.format ?? ((v) => fmt.count(v));
		r.values = spec.values.map((row) => row.map(number));
	} else if (spec.type === "scatter") {
		r.xFormat = spec.x?.format ?? ((v) => fmt.number(v));
		r.yFormat = spec.y?.format ?? ((v) => fmt.number(v));
		r.points = spec.points.map((p) => ({ ...p, x: number(p.x) ?? 0, y: number(p.y) ?? 0, size: number(p.size) ?? 1 }));
	} else if (spec.type === "flow") {
		r.text = spec.format ?? ((v) => fmt.count(v));
		r.flows = spec.flows.map((f) => ({ ...f, value: number(f.value) ?? 0 })).filter((f) => f.value > 0);
	}
	return r;
}

// count is how many places of a chart can be read.
export function count(r) {
	switch (r.type) {
	case "heatmap": return r.x.values.length * r.y.values.length;
	case "scatter": return r.points.length;
	case "flow": return r.flows.length;
	default: return r.x.values.length;
	}
}

const nameOf = (list, id) => list.find((e) => e.id === id)?.name ?? id;

// reading is what is told of one place: a title, and names with values. A row has the tone that
// it is drawn with.
export function reading(r, i) {
	if (r.type === "heatmap") {
		const xi = i % r.x.values.length, yi = Math.floor(i / r.x.values.length);
		return {
			title: `${r.yText.long(r.y.values[yi])} · ${r.xText.long(r.x.values[xi])}`,
			rows: [{ name: r.label ?? "", value: told(r.values[yi]?.[xi], r.text) }],
		};
	}
	if (r.type === "scatter") {
		const p = r.points[i];
		const detail = p.detail ?? [[r.x?.label ?? "", r.xFormat(p.x)], [r.y?.label ?? "", r.yFormat(p.y)], ...(r.size ? [[r.size.label, r.size.format(p.size)]] : [])];
		return { title: p.name, rows: detail.map(([name, value]) => ({ name, value })) };
	}
	if (r.type === "flow") {
		const f = r.flows[i];
		return { title: `${nameOf(r.from, f.from)} → ${nameOf(r.to, f.to)}`, rows: [{ name: "", value: r.text(f.value) }] };
	}
	const rows = r.series.filter((s) => !r.hidden?.has(s.name)).map((s) => ({
		name: s.at?.[i] !== undefined ? `${s.name} (${r.xText.short(s.at[i])})` : s.name,
		value: told(s.values[i], (s.y2 ? r.y2Text : r.yText).full) + share(r, s, i), tone: s.tone, dashed: s.dashed || s.tone === "previous",
	}));
	return { title: r.xText.long(r.x.values[i]), rows };
}

function told(v, text) {
	return v === null || v === undefined ? t("chart.noValue") : text(v);
}

// share is a bar's part of all bars of its series, where that is asked for.
export function share(r, s, i) {
	if (!r.share || s.values[i] === null) return "";
	const sum = s.values.reduce((a, v) => a + (v ?? 0), 0);
	return sum > 0 ? ` · ${fmt.percent(s.values[i] / sum)}` : "";
}

function list(items) {
	return new Intl.ListFormat(language(), { type: "unit", style: "long" }).format(items);
}

// summary is one sentence or two for those who don't see the chart.
export function summary(r) {
	if (r.summary) return r.summary;
	const kind = t(`chart.kind.${r.type}`);
	if (count(r) === 0) return kind;
	if (r.type === "heatmap") {
		let low = null, high = null;
		for (let i = 0; i < count(r); i++) {
			const v = r.values[Math.floor(i / r.x.values.length)]?.[i % r.x.values.length] ?? null;
			if (v === null) continue;
			if (!low || v < low.v) low = { v, i };
			if (!high || v > high.v) high = { v, i };
		}
		if (!high) return kind;
		return t("chart.summary.heatmap", {
			kind, high: r.text(high.v), highAt: reading(r, high.i).title, low: r.text(low.v), lowAt: reading(r, low.i).title,
		});
	}
	if (r.type === "scatter") {
		const names = [...r.points].sort((a, b) => b.size - a.size).slice(0, 3).map((p) => p.name);
		return t("chart.summary.scatter", { kind, n: r.points.length, list: list(names) });
	}
	if (r.type === "flow") {
		const top = r.flows.map((f, i) => ({ ...f, i })).sort((a, b) => b.value - a.value).slice(0, 3);
		return t("chart.summary.flow", { kind, list: list(top.map((f) => `${reading(r, f.i).title}: ${r.text(f.value)}`)) });
	}
	const texts = (s) => (s.y2 ? r.y2Text : r.yText).full;
	if (r.x.kind === "text" || r.x.kind === undefined) {
		const s = r.series[0];
		const top = s.values.map((v, i) => ({ v, i })).filter((e) => e.v !== null).sort((a, b) => b.v - a.v).slice(0, 3);
		return t("chart.summary.ranking", {
			kind, n: r.x.values.length, name: s.name, list: list(top.map((e) => `${r.xText.long(r.x.values[e.i])} ${texts(s)(e.v)}`)),
		});
	}
	const parts = r.series.slice(0, 4).map((s) => {
		const there = s.values.map((v, i) => ({ v, i })).filter((e) => e.v !== null);
		if (there.length === 0) return t("chart.summary.nothing", { name: s.name });
		const low = there.reduce((a, b) => b.v < a.v ? b : a), high = there.reduce((a, b) => b.v > a.v ? b : a);
		const when = (e) => r.xText.long((s.at ?? r.x.values)[e.i] ?? r.x.values[e.i]);
		return t("chart.summary.series", {
			name: s.name, low: texts(s)(low.v), lowAt: when(low), high: texts(s)(high.v), highAt: when(high), last: texts(s)(there.at(-1).v),
		});
	});
	return [t("chart.summary.time", { kind, from: r.xText.long(r.x.values[0]), to: r.xText.long(r.x.values.at(-1)) }), ...parts].join(" ");
}

// asTable is the chart as columns and rows for ui.table.
export function asTable(r) {
	if (r.type === "heatmap") {
		return {
			columns: [{ key: "y", label: r.y.label ?? "" }, ...r.x.values.map((v, i) => ({ key: `x${i}`, label: r.xText.short(v), align: "end" }))],
			rows: r.y.values.map((v, yi) => ({ y: r.yText.long(v), ...Object.fromEntries(r.values[yi].map((n, xi) => [`x${xi}`, n === null ? null : r.text(n)])) })),
		};
	}
	if (r.type === "scatter") {
		const first = reading(r, 0).rows;
		return {
			columns: [{ key: "name", label: t("chart.name") }, ...first.map((d, i) => ({ key: `d${i}`, label: d.name, align: "end" }))],
			rows: r.points.map((p, i) => ({ name: p.name, ...Object.fromEntries(reading(r, i).rows.map((d, j) => [`d${j}`, d.value])) })),
		};
	}
	if (r.type === "flow") {
		return {
			columns: [{ key: "from", label: r.fromLabel ?? t("chart.from") }, { key: "to", label: r.toLabel ?? t("chart.to") }, { key: "value", label: t("chart.value"), align: "end" }],
			rows: r.flows.map((f) => ({ from: nameOf(r.from, f.from), to: nameOf(r.to, f.to), value: r.text(f.value) })),
		};
	}
	return {
		columns: [{ key: "x", label: r.x.label ?? t(`chart.x.${r.x.kind ?? "text"}`) }, ...r.series.map((s, i) => ({ key: `s${i}`, label: s.name, align: "end" }))],
		rows: r.x.values.map((x, xi) => ({
			x: r.xText.long(x),
			...Object.fromEntries(r.series.map((s, i) => [`s${i}`, s.values[xi] === null || s.values[xi] === undefined ? null : (s.y2 ? r.y2Text : r.yText).full(s.values[xi])])),
		})),
	};
}

// buckets returns every hour or day of a range up to now, so that a gap in the rows is a gap in
// the chart, and what its rows have in them.
export function buckets(range, objects, key, { missing = null } = {}) {
	const step = range.grain === "hour" ? 3600e3 : 86400e3;
	const write = (ms) => range.grain === "hour" ? `${new Date(ms).toISOString().slice(0, 19)}Z` : new Date(ms).toISOString().slice(0, 10);
	const begin = Date.parse(`${range.from.slice(0, 10)}T00:00:00Z`);
	const end = Math.min(Date.parse(`${range.to.slice(0, 10)}T00:00:00Z`), range.shift ? Infinity : Date.now());
	const rows = new Map(objects.map((o) => [Math.floor(new Date(o[key]).getTime() / step), o]));
	const at = [], found = [];
	for (let ms = begin; ms < end; ms += step) {
		at.push(write(ms));
		found.push(rows.get(Math.floor(ms / step)));
	}
	return { at, of: (field) => found.map((o) => o ? number(o[field]) : missing), rows: found };
}
