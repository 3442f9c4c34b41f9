// A small editor for statements: lines are numbered, a fault is marked, and what a word could
// become is offered. It is a textarea, so that everything that works in one works in it.

import { clear, h, newID } from "./ui.js";

// editor makes one. complete(word, text) returns [{insert, kind, detail}]. Its value is the
// statement; insert(text) puts a text at the caret, mark({line, column, length}|null) underlines a
// fault, select(from, to) selects.
export function editor({ label, hint, value = "", complete = () => [], onRun = () => {}, onChange = () => {} }) {
	const id = newID("editor");
	const lines = h("div", { class: "editor-lines", "aria-hidden": "true" });
	const marks = h("div", { class: "editor-marks", "aria-hidden": "true" });
	const list = h("ul", { class: "editor-list", role: "listbox", id: `${id}-list`, "aria-label": label, hidden: true });
	const area = h("textarea", {
		class: "editor-text", id, rows: "8", wrap: "off", spellcheck: "false", autocomplete: "off", autocapitalize: "off", autocorrect: "off",
		"aria-label": label, "aria-describedby": `${id}-hint`, "aria-autocomplete": "list", "aria-controls": `${id}-list`,
	});
	const element = h("div", { class: "editor" },
		h("div", { class: "editor-body" }, lines, h("div", { class: "editor-pane" }, marks, area, list)),
		h("p", { class: "editor-hint", id: `${id}-hint` }, hint));
	let offered = [];
	let chosen = 0;
	let fault = null;

	const word = () => /[\w.]*$/.exec(area.value.slice(0, area.selectionStart))[0];

	function number() {
		const n = area.value.split("\n").length;
		if (lines.childElementCount !== n) {
			clear(lines);
			for (let i = 1; i <= n; i++) lines.append(h("span", { class: fault?.line === i ? "editor-bad" : null }, String(i)));
		} else {
			[...lines.children].forEach((e, i) => e.classList.toggle("editor-bad", fault?.line === i + 1));
		}
		area.rows = Math.min(Math.max(n, 8), 24);
		follow();
	}

	function follow() {
		lines.style.transform = `translateY(${-area.scrollTop}px)`;
		marks.style.transform = `translate(${-area.scrollLeft}px, ${-area.scrollTop}px)`;
	}

	// size is that of one character: the font has one width.
	function size() {
		const style = getComputedStyle(area);
		const measure = document.createElement("canvas").getContext("2d");
		measure.font = style.font;
		return { width: measure.measureText("0").width, height: parseFloat(style.lineHeight), left: parseFloat(style.paddingLeft), top: parseFloat(style.paddingTop) };
	}

	// place is where a line and column, from 0, are in the pane; a tab counts as two.
	function place(line, column, s = size()) {
		const before = area.value.split("\n")[line]?.slice(0, column) ?? "";
		return { left: s.left + [...before].reduce((n, c) => n + (c === "\t" ? 2 : 1), 0) * s.width, top: s.top + line * s.height };
	}

	function close() {
		offered = [];
		list.hidden = true;
		area.removeAttribute("aria-activedescendant");
	}

	function offer(isAsked) {
		const w = word();
		offered = isAsked || w.length > 1 ? complete(w, area.value) : [];
		if (!offered.length) return close();
		chosen = 0;
		const before = area.value.slice(0, area.selectionStart).split("\n");
		const s = size();
		const at = place(before.length - 1, before.at(-1).length - w.length, s);
		clear(list);
		offered.forEach((o, i) => list.append(h("li", {
			role: "option", id: `${id}-${i}`, "aria-selected": String(i === chosen),
			on: { mousedown: (e) => { e.preventDefault(); accept(i); } },
		}, h("span", { class: `editor-kind editor-kind-${o.kind}`, "aria-hidden": "true" }, o.kind[0].toUpperCase()), h("span", { class: "editor-insert" }, o.insert), o.detail ? h("span", { class: "editor-detail" }, o.detail) : null)));
		list.hidden = false;
		const width = list.offsetWidth;
		list.style.left = `${Math.max(0, Math.min(at.left - area.scrollLeft, area.clientWidth - width))}px`;
		list.style.top = `${at.top + s.height - area.scrollTop + 2}px`;
		move(0);
	}

	function move(by) {
		chosen = (chosen + by + offered.length) % offered.length;
		[...list.children].forEach((e, i) => e.setAttribute("aria-selected", String(i === chosen)));
		list.children[chosen].scrollIntoView({ block: "nearest" });
		area.setAttribute("aria-activedescendant", `${id}-${chosen}`);
	}

	function accept(i) {
		const w = word();
		const end = area.selectionStart;
		area.setRangeText(offered[i].insert, end - w.length, end, "end");
		close();
		changed();
	}

	function changed() {
		if (fault) mark(null);
		number();
		onChange(area.value);
	}

	function mark(at) {
		fault = at;
		clear(marks);
		if (at) {
			const s = size();
			const p = place(at.line - 1, at.column - 1, s);
			marks.append(h("span", { class: "editor-mark", style: { left: `${p.left}px`, top: `${p.top}px`, width: `${at.length * s.width}px`, height: `${s.height}px` } }));
		}
		area.setAttribute("aria-invalid", String(Boolean(at)));
		number();
	}

	area.addEventListener("input", () => { changed(); offer(false); });
	area.addEventListener("scroll", () => { follow(); close(); });
	area.addEventListener("blur", close);
	area.addEventListener("click", close);
	area.addEventListener("keydown", (e) => {
		const isOpen = !list.hidden;
		if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) {
			e.preventDefault();
			close();
			onRun();
		} else if (e.key === " " && e.ctrlKey) {
			e.preventDefault();
			offer(true);
		} else if (isOpen && e.key === "Escape") {
			e.preventDefault();
			e.stopPropagation();
			close();
		} else if (isOpen && (e.key === "ArrowDown" || e.key === "ArrowUp")) {
			e.preventDefault();
			move(e.key === "ArrowDown" ? 1 : -1);
		} else if (isOpen && (e.key === "Tab" || e.key === "Enter") && !e.shiftKey) {
			e.preventDefault();
			accept(chosen);
		}
	});

	const api = {
		element, mark,
		focus: () => area.focus(),
		select(from, to) {
			area.focus();
			area.setSelectionRange(from, to);
		},
		insert(text) {
			area.setRangeText(text, area.selectionStart, area.selectionEnd, "end");
			area.focus();
			changed();
		},
		get value() { return area.value; },
		set value(text) {
			area.value = text;
			changed();
		},
	};
	area.value = value;
	number();
	return api;
}
