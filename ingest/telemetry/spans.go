package telemetry

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/cardlake/cardlake/ingest"
)

// spans makes one trace of each window: a span of the commit with one child for each write
// and append. Stages are told when they have ended, the children before their parent, so
// they are kept until it comes. Poll and take are not part of it: a window has thousands of
// them, and a histogram says more.
type spans struct {
	tracer trace.Tracer

	mu       *sync.Mutex
	children []ingest.Stage // of the window that is being committed
}

func newSpans(p trace.TracerProvider) spans {
	return spans{tracer: p.Tracer("github.com/cardlake/cardlake/ingest/telemetry"), mu: &sync.Mutex{}}
}

// maxChildren bounds what is kept for one window: a write and an append for each table.
const maxChildren = 16

func (s *spans) observe(e ingest.Stage) {
	switch e.Name {
	case ingest.StageWrite, ingest.StageAppend:
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.children) < maxChildren {
			s.children = append(s.children, e)
		}
	case ingest.StageCommit:
		s.mu.Lock()
		children := s.children
		s.children = nil
		s.mu.Unlock()
		s.window(e, children)
	}
}

// window emits the spans of one window. They hold counts only: the error's text is left to
// the log.
func (s *spans) window(commit ingest.Stage, children []ingest.Stage) {
	ctx, parent := s.start(context.Background(), "commit window", commit.Began,
		attribute.Int("cardlake.rows", commit.Records), attribute.Bool("cardlake.committed", commit.Err == nil))
	for _, c := range children {
		var attributes []attribute.KeyValue
		if c.Name == ingest.StageWrite {
			var rows, bytes int64
			for i := range c.Files {
				rows, bytes = rows+c.Files[i].Rows, bytes+c.Files[i].Bytes
			}
			attributes = []attribute.KeyValue{
				attribute.Int("cardlake.files", len(c.Files)),
				attribute.Int64("cardlake.rows", rows), attribute.Int64("cardlake.bytes", bytes),
			}
		}
		_, child := s.start(ctx, string(c.Name), c.Began, attributes...)
		child.End(trace.WithTimestamp(c.Began.Add(c.Took)))
	}
	if commit.Err != nil {
		parent.SetStatus(codes.Error, "the window was dropped; its records are read again")
	}
	parent.End(trace.WithTimestamp(commit.Began.Add(commit.Took)))
}

func (s *spans) start(ctx context.Context, name string, began time.Time, attributes ...attribute.KeyValue) (context.Context, trace.Span) {
	return s.tracer.Start(ctx, name, trace.WithTimestamp(began), trace.WithAttributes(attributes...))
}
