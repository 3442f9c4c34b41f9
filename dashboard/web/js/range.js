// Which days are looked at, and with which they are compared. Days are days of UTC, as the
// lake's are; in the address `range` is a name or two days, both included.

import { h, icon, newID } from "./dom.js";
import { fmt } from "./format.js";
import { t } from "./i18n.js";
import { dialog, menu } from "./overlay.js";

export const presets = ["today", "yesterday", "7d", "30d", "90d"];
export const defaultRange = "7d";

const dayLength = 86400e3;
// longest is how many days may be looked at together.
const longest = 366;

const dayText = (ms) => new Date(ms).toISOString().slice(0, 10);

function dayNumber(text) {
	if (!/^\d{4}-\d{2}-\d{2}$/.test(text ?? "")) return NaN;
	const ms = Date.parse(`${text}T00:00:00Z`);
	return dayText(Number.isNaN(ms) ? 0 : ms) === text ? ms : NaN;
}

// readRange reads the range of an address. What is none is the default.
export function readRange(params, now = Date.now()) {
	const today = Math.floor(now / dayLength) * dayLength;
	let key = params.get("range") ?? defaultRange;
	let from, to;
	const days = /^(\d{1,3})d$/.exec(key);
	const custom = /^(\d{4}-\d{2}-\d{2})\.\.(\d{4}-\d{2}-\d{2})$/.exec(key);
	if (key === "today") [from, to] = [today, today + dayLength];
	else if (key === "yesterday") [from, to] = [today - dayLength, today];
	else if (days && days[1] >= 1 && days[1] <= longest) [from, to] = [today - (days[1] - 1) * dayLength, today + dayLength];
	else if (custom && dayNumber(custom[1]) <= dayNumber(custom[2]) && dayNumber(custom[2]) - dayNumber(custom[1]) < longest * dayLength) {
		[from, to] = [dayNumber(custom[1]), dayNumber(custom[2]) + dayLength];
	} else {
		key = defaultRange;
		[from, to] = [today - 6 * dayLength, today + dayLength];
	}
	const length = Math.round((to - from) / dayLength);
	const previous = { from: dayText(from - (to - from)), to: dayText(from) };
	const compare = params.get("compare") === "1";
	return {
		key, from: dayText(from), to: dayText(to), days: length, grain: length <= 2 ? "hour" : "day",
		includesToday: to > now, compare, before: previous, previous: compare ? previous : null,
	};
}

// rangeLabel names a range for people.
export function rangeLabel(range) {
	if (presets.includes(range.key)) return t(`app.range.${range.key}`);
	return fmt.range(range.from, range.to);
}

// rangePicker is the button and menu in the top bar; choose is given the key of the address.
export function rangePicker(range, choose) {
	const button = h("button", { class: "button button-default picker", type: "button", "aria-label": t("app.range.label", { range: rangeLabel(range) }) },
		icon("calendar", { size: 16 }), h("span", { class: "picker-text" }, rangeLabel(range)), icon("chevron", { size: 14 }));
	return menu(button, () => [
		...presets.map((key) => ({
			label: t(`app.range.${key}`), checked: range.key === key, onSelect: () => choose(key),
			hint: hintOf(key),
		})),
		{ separator: true },
		{ label: t("app.range.custom"), checked: !presets.includes(range.key), onSelect: () => custom(range, choose) },
	], { align: "start", label: t("app.range.menu") });
}

function hintOf(key) {
	const r = readRange(new URLSearchParams({ range: key }));
	return r.days === 1 ? fmt.dayShort(r.from) : `${fmt.dayShort(r.from)} – ${fmt.dayShort(dayText(Date.parse(r.to) - dayLength))}`;
}

function custom(range, choose) {
	const today = dayText(Date.now());
	const one = (label, value) => {
		const id = newID("day");
		const control = h("input", { class: "input", type: "date", id, max: today, required: true, value });
		return { control, node: h("div", { class: "field" }, h("label", { for: id }, label), control) };
	};
	const from = one(t("app.range.from"), range.from);
	const to = one(t("app.range.to"), dayText(Math.min(Date.parse(range.to) - dayLength, Date.now())));
	const wrong = h("p", { class: "field-error", role: "alert" });
	const apply = () => {
		const a = dayNumber(from.control.value), b = dayNumber(to.control.value);
		if (!(a <= b)) wrong.textContent = t("app.range.order");
		else if (b - a >= longest * dayLength) wrong.textContent = t("app.range.tooLong", { n: longest });
		else {
			choose(`${from.control.value}..${to.control.value}`);
			return true;
		}
		return false;
	};
	dialog({
		title: t("app.range.custom"),
		body: h("div", null, h("div", { class: "fields-row" }, from.node, to.node), wrong, h("p", { class: "field-hint" }, t("app.range.utc"))),
		actions: [{ label: t("app.cancel") }, { label: t("app.apply"), kind: "primary", onClick: apply }],
	}).open();
}
