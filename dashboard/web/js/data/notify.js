// How to be told: of exports that ended, of days that are complete, and of every new row.

import { badge, card, code, grid, h, link, note, section } from "../ui.js";
import { origin } from "./snippets.js";

export default async function notify(ctx) {
	const { t, tenant } = ctx;
	const name = tenant || "TENANT";
	const way = (id, tone, ...children) => card({ title: t(`data.notify.${id}`), subtitle: t(`data.notify.${id}.text`), actions: [badge(t(`data.notify.${id}.how`), tone)] }, children);
	return h("div", { class: "stack" },
		note(t("data.notify.lead"), "info"),
		grid({ columns: 2 },
			way("export", "info",
				h("p", null, t("data.notify.export.set")),
				code(`cardlake export settings \\
  -webhook https://hooks.example.com/cardlake ${name}`),
				h("p", null, t("data.notify.event")),
				code(`{"type": "export.done", "timestamp": "2026-11-23T09:14:02Z",
 "data": {"export": "9f3c…", "tenant": "${name}", "state": "done",
          "rows": 135000, "bytes": 6396313, "files": 1}}`)),
			way("ready", "info",
				h("p", null, t("data.notify.ready.set")),
				code(`{"subscribers": [{"name": "warehouse", "tenants": ["${name}"],
  "principal": "etl_job/warehouse", "secret_file": "warehouse.secret",
  "url": "https://hooks.example.com/lake", "old_secret_files": []}]}`, { label: "subscribers.json" }),
				h("p", null, t("data.notify.event")),
				code(`{"type": "partition.ready", "timestamp": "2026-11-24T00:17:04Z",
 "data": {"detail-type": "Partition Ready", "detail": {
   "table": "cards.transactions", "tenant": "${name}", "partition": "2026-11-23",
   "rows": 135207, "valid_through": "2026-11-24T00:12:00Z"}}}`)),
			way("changes", "good",
				h("p", null, t("data.notify.changes.set")),
				code(`curl -D - -H "Authorization: Bearer $CARDLAKE_TOKEN" \\\n  "${origin()}/v1/changes?since=now&wait=25"`),
				h("p", null, t("data.notify.changes.next")),
				code(`curl -D - -H "Authorization: Bearer $CARDLAKE_TOKEN" \\\n  "${origin()}/v1/changes?since=$CURSOR&wait=25&limit=100000"`)),
			way("schedule", "good",
				h("p", null, t("data.notify.schedule.set")),
				h("p", null, link(ctx.href("/data?tab=exports"), t("data.tab.exports"))))),
		section({ title: t("data.notify.verify"), subtitle: t("data.notify.verify.text") },
			code(`import base64, hashlib, hmac, time

def is_genuine(headers, body: bytes, secret: str) -> bool:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    stamp = headers["webhook-timestamp"]
    if abs(time.time() - int(stamp)) > 300:
        return False
    text = f"{headers['webhook-id']}.{stamp}.".encode() + body
    mine = "v1," + base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
    return any(hmac.compare_digest(mine, one) for one in headers["webhook-signature"].split())`, { label: "Python" }),
			h("p", { class: "faint" }, t("data.notify.once"), " ", link("https://www.standardwebhooks.com/", "Standard Webhooks"))));
}
