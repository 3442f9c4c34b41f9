package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/serving"
	"github.com/cardlake/cardlake/keys/local"
)

// auditLake is a lake with a log of some questions.
func auditLake(t *testing.T) home.Dir {
	t.Helper()
	dir := home.Dir(t.TempDir())
	if err := makeLake(t.Context(), dir, 1, 10); err != nil {
		t.Fatal(err)
	}
	ring, err := local.OpenFile(dir.LakeKeyring(), dir.LakeSecret())
	if err != nil {
		t.Fatal(err)
	}
	signer, err := audit.OpenSigner(t.Context(), dir.Audit(serving.LakeLog), ring)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		l, err := audit.OpenShared(t.Context(), dir.Audit(serving.LakeLog), ring, audit.Config{Actor: "test", Signer: signer, Anchor: audit.FileAnchor(dir.AuditAnchor(serving.LakeLog))})
		if err != nil {
			t.Fatal(err)
		}
		for _, actor := range []string{"data_scientist/ana", "etl_job/load"} {
			r := audit.Record{Actor: actor, Action: "query", Resource: "cards.transactions", Outcome: audit.Allowed, Reason: "card 4111 1111 1111 1111\x1b[2J"}
			if err := l.Append(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Append(t.Context(), audit.Record{Actor: "data_scientist/ana", Action: "query", Resource: "audit.events", Outcome: audit.Refused}); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// audited runs a command of the audit log.
func audited(t *testing.T, dir home.Dir, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	args = append([]string{"audit", args[0], "-dir", string(dir)}, args[1:]...)
	code = run(t.Context(), args, nil, &out, &errs)
	return out.String(), errs.String(), code
}

// flip changes one letter of an old line.
func flip(t *testing.T, dir home.Dir) {
	t.Helper()
	path := filepath.Join(dir.Audit(serving.LakeLog), audit.SegmentName(1))
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(b, []byte("etl_job/load"), []byte("etl_job/lead"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAuditVerify(t *testing.T) {
	dir := auditLake(t)
	out, errs, code := audited(t, dir, "verify")
	if code != 0 || !strings.HasPrefix(out, "OK: log ") || !strings.Contains(out, "every seal is genuine") || !strings.Contains(out, "2 checkpoints are genuine") {
		t.Errorf("exit code %d, %s%s", code, out, errs)
	}
	if !strings.Contains(recorded(t, dir), `"actor":"auditor/local","action":"audit_read"`) {
		t.Error("that the log was read is not on record")
	}
	// An auditor with a copy and the pinned keys needs nothing of the lake.
	keys, errs, code := audited(t, dir, "key")
	if code != 0 || !strings.HasPrefix(keys, "-----BEGIN PUBLIC KEY-----") || !strings.HasPrefix(errs, "key ") {
		t.Fatalf("exit code %d, %s%s", code, keys, errs)
	}
	public := filepath.Join(t.TempDir(), "public.pem")
	if err := os.WriteFile(public, []byte(keys), 0o600); err != nil {
		t.Fatal(err)
	}
	nowhere := home.Dir(t.TempDir())
	if out, errs, code = audited(t, nowhere, "verify", "-offline", dir.Audit(serving.LakeLog), "-public", public); code != 0 || !strings.Contains(out, "seals were not checked") {
		t.Errorf("exit code %d, %s%s", code, out, errs)
	}
	other, _, _ := audited(t, auditLake(t), "key")
	if err := os.WriteFile(public, []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, errs, code = audited(t, nowhere, "verify", "-offline", dir.Audit(serving.LakeLog), "-public", public); code != 1 || !strings.Contains(out, "public keys that are trusted") {
		t.Errorf("another key: exit code %d, %s%s", code, out, errs)
	}

	flip(t, dir)
	out, errs, code = audited(t, dir, "verify")
	if code != 1 || !strings.HasPrefix(out, "BROKEN: audit-00000001.jsonl, line 3 (number 3): its hash is not that of its content") {
		t.Errorf("exit code %d, %s%s", code, out, errs)
	}
}

// A log that can't be written any more can still be verified, and says so.
func TestAuditVerifyOfALogThatIsCut(t *testing.T) {
	dir := auditLake(t)
	path := filepath.Join(dir.Audit(serving.LakeLog), audit.SegmentName(2))
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Join(bytes.SplitAfter(b, []byte("\n"))[:2], nil), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs, code := audited(t, dir, "verify", "-format", "json")
	var got struct {
		OK  bool
		Log audit.Report
	}
	err = json.Unmarshal([]byte(out), &got)
	if code != 1 || err != nil || got.OK || got.Log.Break == nil || got.Log.Break.Segment != "audit-00000002.jsonl" || !strings.Contains(errs, "not on record") {
		t.Errorf("exit code %d, %s%s", code, out, errs)
	}
	if out, errs, code := audited(t, dir, "tail"); code != 2 || out != "" {
		t.Errorf("tail without a record: exit code %d, %s%s", code, out, errs)
	}
}

// Who is not permitted reads nothing, and that is on record.
func TestAuditIsForAuditors(t *testing.T) {
	dir := auditLake(t)
	for _, command := range []string{"verify", "tail", "prune"} {
		before := len(recorded(t, dir))
		out, errs, code := audited(t, dir, command, "-as", "data_scientist/local")
		if code != 2 || out != "" || !strings.Contains(errs, "not permitted") {
			t.Errorf("%s: exit code %d, %s%s", command, code, out, errs)
		}
		if line := recorded(t, dir)[before:]; !strings.Contains(line, `"actor":"data_scientist/local","action":"audit_`) || !strings.Contains(line, `"outcome":"refused"`) {
			t.Errorf("%s: the record says %s", command, line)
		}
	}
	t.Setenv("CARDLAKE_AS", "data_scientist/local")
	if out, _, code := audited(t, dir, "tail"); code != 2 || out != "" {
		t.Errorf("by $CARDLAKE_AS: exit code %d, %s", code, out)
	}
}

func TestAuditTail(t *testing.T) {
	dir := auditLake(t)
	for _, c := range []struct {
		args string
		want int
	}{
		{"-actor data_scientist/ana -since 1h", 4}, {"-action query -n 3", 3},
		{"-since 2020-01-01T00:00:00Z -resource audit.events -outcome refused", 2},
	} {
		out, errs, code := audited(t, dir, append([]string{"tail"}, strings.Fields(c.args)...)...)
		if code != 0 || strings.Count(out, "\n") != c.want {
			t.Errorf("%s: exit code %d, %d lines, want %d\n%s%s", c.args, code, strings.Count(out, "\n"), c.want, out, errs)
		}
	}
	for _, format := range []string{"text", "json"} {
		out, _, _ := audited(t, dir, "tail", "-n", "100", "-format", format)
		if strings.Contains(out, "4111") || strings.Contains(out, "\x1b") {
			t.Errorf("%s shows what it must not", format)
		}
		if !strings.Contains(out, "xxxx xxxx xxxx xxxx") {
			t.Errorf("%s lost the reason: %s", format, out)
		}
	}
	for _, args := range []string{"-outcome perhaps", "-since yesterday", "-n -1", "-format csv", "more"} {
		if _, _, code := audited(t, dir, append([]string{"tail"}, strings.Fields(args)...)...); code != 2 {
			t.Errorf("%s: exit code %d", args, code)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var errs bytes.Buffer
	if code := run(ctx, []string{"audit", "tail", "-f", "-dir", string(dir)}, nil, &stopper{cancel: cancel, after: 3}, &errs); code != 0 {
		t.Errorf("following: exit code %d, %s", code, errs.String())
	}
}

// stopper stops what writes to it after so many writes.
type stopper struct {
	cancel context.CancelFunc
	after  int
}

func (s *stopper) Write(p []byte) (int, error) {
	if s.after--; s.after == 0 {
		s.cancel()
	}
	return len(p), nil
}

func TestAuditShipAndPrune(t *testing.T) {
	dir := auditLake(t)
	out, errs, code := audited(t, dir, "ship", "-once")
	if code != 0 || !strings.Contains(out, `"segments":2`) {
		t.Fatalf("exit code %d, %s%s", code, out, errs)
	}
	for _, args := range [][]string{{"verify", "-table"}, {"verify", "-archive"}} {
		out, errs, code := audited(t, dir, args...)
		if code != 0 || !strings.HasPrefix(out, "OK: ") {
			t.Errorf("%q: exit code %d, %s%s", args, code, out, errs)
		}
	}
	if out, errs, code := audited(t, dir, "prune"); code != 0 || out != "" {
		t.Errorf("nothing is old: exit code %d, %s%s", code, out, errs)
	}
	if _, errs, code := audited(t, dir, "prune", "-days", "30"); code != 2 || !strings.Contains(errs, "at least 90") {
		t.Errorf("exit code %d, %s", code, errs)
	}
	out, errs, code = audited(t, dir, "key", "-rotate")
	if code != 0 || strings.Count(out, "BEGIN PUBLIC KEY") != 2 {
		t.Errorf("exit code %d, %s%s", code, out, errs)
	}
	flip(t, dir)
	if out, errs, code := audited(t, dir, "prune"); code != 1 || out != "" {
		t.Errorf("a broken log: exit code %d, %s%s", code, out, errs)
	}
}

func TestAuditAlerts(t *testing.T) {
	dir := auditLake(t)
	rules := filepath.Join(t.TempDir(), "rules.json")
	if err := os.WriteFile(rules, []byte(`{"refusal_count": 2, "grant_window": -1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs, code := audited(t, dir, "alerts", "-once", "-rules", rules)
	if code != 0 || strings.Count(out, "\n") != 1 || !strings.Contains(out, `"rule":"refusals","actor":"data_scientist/ana"`) {
		t.Errorf("exit code %d, %s%s", code, out, errs)
	}
	if out, errs, code = audited(t, dir, "alerts", "-once", "-rules", rules); code != 0 || out != "" {
		t.Errorf("told again: exit code %d, %s%s", code, out, errs)
	}
	flip(t, dir)
	if err := os.Remove(dir.Audit(serving.LakeLog) + ".alerts"); err != nil {
		t.Fatal(err)
	}
	if out, errs, code = audited(t, dir, "alerts", "-once"); code != 1 || !strings.Contains(out, `"rule":"log_broken"`) {
		t.Errorf("a broken log: exit code %d, %s%s", code, out, errs)
	}
}
