package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/cardlake/cardlake/card/wire"
)

func TestSchemaVersionsOfTheRegistry(t *testing.T) {
	registry := srfake.New()
	defer registry.Close()
	client, err := sr.NewClient(sr.URLs(registry.URL()))
	if err != nil {
		t.Fatal(err)
	}
	o := &options{source: fromKafka, topic: "cards", registry: registry.URL()}
	if _, _, err := o.schemaVersions(t.Context()); err == nil {
		t.Error("a subject without a schema would reject every record")
	}
	if _, err := client.CreateSchema(t.Context(), "another", sr.Schema{Schema: `"string"`, Type: sr.TypeAvro}); err != nil {
		t.Fatal(err)
	}
	made := map[string]uint32{}
	for subject, text := range map[string]string{"cards-value": wire.Schema(), "cards-totals-value": wire.TotalSchema()} {
		one, err := client.CreateSchema(t.Context(), subject, sr.Schema{Schema: text, Type: sr.TypeAvro})
		if err != nil {
			t.Fatal(err)
		}
		made[subject] = uint32(one.ID)
	}
	events, totals, err := o.schemaVersions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[uint32]int{made["cards-value"]: wire.SchemaVersion}, events); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[uint32]int{made["cards-totals-value"]: wire.TotalSchemaVersion}, totals); diff != "" {
		t.Error(diff)
	}
	o.registryCA = "none.pem"
	if _, _, err := o.schemaVersions(t.Context()); err == nil || !strings.Contains(err.Error(), "-registry-ca") {
		t.Errorf("error %v, want one of -registry-ca", err)
	}
}

func TestSubjects(t *testing.T) {
	for _, c := range []struct {
		o              options
		events, totals string
	}{
		{options{source: fromKafka, topic: "cards", stream: "s"}, "cards-value", "cards-totals-value"},
		{options{source: fromKinesis, topic: "cards", stream: "s"}, "s-value", "s-totals-value"},
		{options{source: fromKinesis, stream: "s", registrySubject: "mine", registryTotals: "yours"}, "mine", "yours"},
	} {
		if events, totals := c.o.subjects(); events != c.events || totals != c.totals {
			t.Errorf("subjects %s and %s, want %s and %s", events, totals, c.events, c.totals)
		}
	}
}
