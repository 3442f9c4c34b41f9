// Tables of rows: aligned, sortable, and longer on demand.

import { h, icon, put } from "./dom.js";
import { t } from "./i18n.js";

const none = "–";

// table shows rows below their columns. columns are {key, label, align, format(value, row),
// href(row), sortable, width, hint, class}; the first one names the row. onMore fetches what
// follows and returns {rows, more}.
export function table({ columns, rows = [], caption, empty, onMore, more, sort, onSort, onRow, rowLabel, dense = false, selectedKey, rowKey }) {
	let hasMore = more ?? Boolean(onMore && rows.length > 0);
	let count = 0;
	const body = h("tbody");
	const foot = h("div", { class: "table-foot" });
	const head = h("tr", null, columns.map(header));

	function header(c) {
		const descending = sort?.descending ?? false;
		const sorted = sort?.key === c.key;
		const text = [c.label, c.hint && h("span", { class: "table-hint", title: c.hint }, icon("info", { size: 12, label: c.hint }))];
		return h("th", {
			scope: "col", class: [c.align && `align-${c.align}`, c.class], style: c.width ? { width: c.width } : null,
			"aria-sort": sorted ? (descending ? "descending" : "ascending") : null,
		}, c.sortable && onSort ? h("button", {
			class: "table-sort", type: "button",
			on: { click: () => onSort(c.key, sorted ? !descending : true) },
		}, text, icon(sorted && !descending ? "arrow-up" : "arrow-down", { size: 12 })) : text);
	}

	function cell(c, row, first) {
		const value = row[c.key];
		let content = c.format ? c.format(value, row) : value;
		if (content === null || content === undefined || content === "") content = h("span", { class: "faint" }, none);
		const path = c.href?.(row);
		return h(first ? "th" : "td", { scope: first ? "row" : null, class: [c.align && `align-${c.align}`, c.class] }, path ? h("a", { href: path }, content) : content);
	}

	function line(row) {
		const key = rowKey?.(row);
		const tr = h("tr", {
			class: [onRow && "table-row-open", key !== undefined && key === selectedKey && "table-row-selected"],
			dataset: { key }, tabindex: onRow ? "-1" : null, "aria-label": onRow ? rowLabel?.(row) : null,
			on: onRow ? {
				click: (e) => {
					if (!e.target.closest("a,button,input,label")) onRow(row, tr);
				},
				keydown: (e) => {
					if (e.target !== tr) return;
					if (e.key === "Enter" || e.key === " ") {
						e.preventDefault();
						onRow(row, tr);
					}
					const next = { ArrowDown: tr.nextElementSibling, ArrowUp: tr.previousElementSibling }[e.key];
					if (next) {
						e.preventDefault();
						tr.tabIndex = -1;
						next.tabIndex = 0;
						next.focus();
					}
				},
			} : {},
		}, columns.map((c, i) => cell(c, row, i === 0)));
		return tr;
	}

	function append(added) {
		count += added.length;
		body.append(...added.map(line));
		// One row is reached by Tab, the others from there by arrows.
		if (onRow && !body.querySelector('tr[tabindex="0"]')) body.firstElementChild?.setAttribute("tabindex", "0");
		finish();
	}

	function finish() {
		if (count === 0) {
			put(body, h("tr", { class: "table-empty" }, h("td", { colspan: columns.length }, empty ?? t("app.noRows"))));
			put(foot);
			return;
		}
		put(foot, hasMore && onMore && h("button", {
			class: "button button-quiet", type: "button",
			on: {
				click: async (e) => {
					const b = e.currentTarget;
					b.disabled = true;
					b.setAttribute("aria-busy", "true");
					try {
						const answer = await onMore();
						hasMore = answer.more;
						const last = body.lastElementChild;
						append(answer.rows);
						if (onRow) last?.nextElementSibling?.focus();
					} catch (err) {
						if (err?.kind !== "aborted") put(foot, b, h("span", { class: "table-failed", role: "alert" }, t("app.moreFailed")));
					} finally {
						b.disabled = false;
						b.removeAttribute("aria-busy");
					}
				},
			},
		}, t("app.more")));
	}

	const node = h("div", { class: ["table-box", dense && "table-dense"] },
		h("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": caption },
			h("table", null, h("caption", { class: "sr-only" }, caption), h("thead", null, head), body)), foot);
	node.appendRows = append;
	node.replaceRows = (replacing, moreNow = hasMore) => {
		count = 0;
		hasMore = moreNow;
		put(body);
		append(replacing);
	};
	append(rows);
	return node;
}
