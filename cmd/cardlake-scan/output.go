package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/tokenize/discover"
	"github.com/cardlake/cardlake/tokenize/discover/formats"
)

// summary is what a run did.
type summary struct {
	Sources   int64 `json:"sources"`
	Members   int64 `json:"members"`
	Bytes     int64 `json:"bytes"`
	Skipped   int64 `json:"skipped"`
	Encrypted int64 `json:"encrypted"`
	High      int64 `json:"high"`
	Medium    int64 `json:"medium"`
	Low       int64 `json:"low"`
	NotShown  int64 `json:"not_shown"`
}

func (s summary) String() string {
	text := fmt.Sprintf("%d findings of high and %d of medium confidence in %d files and %d within them, %d bytes", s.High, s.Medium, s.Sources, s.Members, s.Bytes)
	if s.Low > 0 {
		text += fmt.Sprintf("; %d of low confidence (-confidence low shows them)", s.Low)
	}
	if s.NotShown > 0 {
		text += fmt.Sprintf("; %d not printed (-findings 0 prints all)", s.NotShown)
	}
	return text
}

// output writes results as they come, so that memory does not grow with them.
type output interface {
	finding(discover.Detection) error
	end(summary, []formats.Fault) error
}

// newOutput returns nil for a format that there is not.
func newOutput(format string, w io.Writer) output {
	switch format {
	case "text":
		return textOutput{w}
	case "json":
		return &jsonOutput{list: list{w: w, head: `{"findings":[`}}
	case "sarif":
		return &sarifOutput{list: list{w: w, head: sarifHead()}}
	}
	return nil
}

type textOutput struct{ w io.Writer }

func (t textOutput) finding(d discover.Detection) error {
	what := string(d.Kind)
	if d.Brand != "" {
		what += " " + d.Brand
	}
	if d.Masked != "" {
		what += " " + d.Masked + " " + d.Fingerprint
	}
	_, err := fmt.Fprintf(t.w, "%s: %s (%s, %s): %s\n", d.Place, what, d.Encoding, d.Confidence, d.Reason)
	return err
}

func (textOutput) end(summary, []formats.Fault) error { return nil }

// list writes the elements of a JSON array one by one.
type list struct {
	w    io.Writer
	head string
	n    int
}

func (l *list) add(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	lead := ",\n"
	if l.n == 0 {
		lead = l.head + "\n"
	}
	l.n++
	_, err = fmt.Fprintf(l.w, "%s%s", lead, b)
	return err
}

func (l *list) close(rest string) error {
	if l.n == 0 {
		rest = l.head + rest
	}
	_, err := io.WriteString(l.w, rest+"\n")
	return err
}

// fault is one thing that could not be read, as the JSON formats show it.
type fault struct {
	Path  string `json:"path"`
	Error string `json:"error"`
}

type jsonOutput struct{ list }

func (j *jsonOutput) finding(d discover.Detection) error { return j.add(d) }

func (j *jsonOutput) end(s summary, faults []formats.Fault) error {
	shown := []fault{}
	for _, f := range faults {
		shown = append(shown, fault{f.Path, f.Err.Error()})
	}
	rest, err := json.Marshal(struct {
		Summary summary `json:"summary"`
		Faults  []fault `json:"faults"`
	}{s, shown})
	if err != nil {
		return err
	}
	return j.close("],\n" + string(rest[1:]))
}

// sarifOutput writes SARIF 2.1.0 (OASIS standard, 27 March 2020).
type sarifOutput struct{ list }

type sarifText struct {
	Text string `json:"text"`
}

type sarifRule struct {
	ID               string    `json:"id"`
	Name             string    `json:"name"`
	ShortDescription sarifText `json:"shortDescription"`
	Help             sarifText `json:"help"`
}

var sarifRules = []sarifRule{
	{string(discover.CardNumber), "CardNumber", sarifText{"A card number in clear"}, sarifText{"PCI DSS 3.5.1: tokenise, truncate or encrypt it, or delete it."}},
	{string(discover.Track1), "Track1", sarifText{"Track 1 of a magnetic stripe"}, sarifText{"PCI DSS 3.3.1.1: delete it; it may not be stored."}},
	{string(discover.Track2), "Track2", sarifText{"Track 2 of a magnetic stripe or a chip"}, sarifText{"PCI DSS 3.3.1.1: delete it; it may not be stored."}},
	{string(discover.SecurityCode), "SecurityCode", sarifText{"A card's security code"}, sarifText{"PCI DSS 3.3.1.2: delete it; it may not be stored."}},
	{string(discover.PINBlock), "PINBlock", sarifText{"An encrypted PIN"}, sarifText{"PCI DSS 3.3.1.3: delete it; it may not be stored."}},
}

func sarifHead() string {
	rules, _ := json.Marshal(sarifRules) // of strings: cannot fail
	version, _ := json.Marshal(cardlake.Version)
	return `{"$schema":"https://json.schemastore.org/sarif-2.1.0.json","version":"2.1.0","runs":[{"tool":{"driver":{"name":"cardlake-scan","version":` +
		string(version) + `,"rules":` + string(rules) + `}},"columnKind":"utf16CodeUnits","results":[`
}

type sarifRegion struct {
	StartLine   int64 `json:"startLine,omitempty"`
	StartColumn int64 `json:"startColumn,omitempty"`
	ByteOffset  int64 `json:"byteOffset"`
}

type sarifResult struct {
	RuleID    string    `json:"ruleId"`
	Level     string    `json:"level"`
	Message   sarifText `json:"message"`
	Locations []struct {
		PhysicalLocation struct {
			ArtifactLocation struct {
				URI string `json:"uri"`
			} `json:"artifactLocation"`
			Region *sarifRegion `json:"region,omitempty"`
		} `json:"physicalLocation"`
	} `json:"locations"`
	PartialFingerprints map[string]string  `json:"partialFingerprints,omitempty"`
	Properties          discover.Detection `json:"properties"`
}

func (s *sarifOutput) finding(d discover.Detection) error {
	r := sarifResult{RuleID: string(d.Kind), Level: "error", Properties: d}
	if d.Confidence < discover.High {
		r.Level = "warning"
	}
	if d.Confidence < discover.Medium {
		r.Level = "note"
	}
	r.Message.Text = strings.TrimSpace(fmt.Sprintf("%s %s %s: %s", d.Kind, d.Brand, d.Masked, d.Reason))
	r.Locations = append(r.Locations, struct {
		PhysicalLocation struct {
			ArtifactLocation struct {
				URI string `json:"uri"`
			} `json:"artifactLocation"`
			Region *sarifRegion `json:"region,omitempty"`
		} `json:"physicalLocation"`
	}{})
	at := &r.Locations[0].PhysicalLocation
	at.ArtifactLocation.URI = uri(d.Path)
	// What is within another file, or a value in a table, is no region of the file.
	if !strings.Contains(d.Path, "!") && d.Row == 0 {
		at.Region = &sarifRegion{StartLine: d.Line, StartColumn: d.Column, ByteOffset: d.Offset}
	}
	if d.Fingerprint != "" {
		r.PartialFingerprints = map[string]string{"number/v1": d.Fingerprint}
	}
	return s.add(r)
}

type sarifNotification struct {
	Level   string    `json:"level"`
	Message sarifText `json:"message"`
}

func (s *sarifOutput) end(sum summary, faults []formats.Fault) error {
	notes := []sarifNotification{}
	for _, f := range faults {
		notes = append(notes, sarifNotification{"error", sarifText{"could not read all of " + f.Error()}})
	}
	rest, err := json.Marshal([]any{struct {
		ExecutionSuccessful        bool                `json:"executionSuccessful"`
		ToolExecutionNotifications []sarifNotification `json:"toolExecutionNotifications"`
		Properties                 summary             `json:"properties"`
	}{len(faults) == 0, notes, sum}})
	if err != nil {
		return err
	}
	return s.close("],\n\"invocations\":" + string(rest) + "}]}")
}
