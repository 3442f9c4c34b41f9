package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/cardlake/cardlake/ingest"
)

// stages measures what Observe is told. It implements prometheus.Collector.
type stages struct {
	took map[ingest.StageName]prometheus.Observer // filled once: a lookup takes no lock

	duration                                        *prometheus.HistogramVec
	window, polled, commitRows, fileRows, fileBytes prometheus.Histogram
}

func newStages() stages {
	h := func(m metric) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: m.name, Help: m.help, Buckets: m.buckets})
	}
	s := stages{
		took: map[ingest.StageName]prometheus.Observer{},
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: stageDuration.name, Help: stageDuration.help, Buckets: stageDuration.buckets,
		}, stageDuration.labels),
		window: h(windowDuration), polled: h(pollRecords), commitRows: h(commitRows), fileRows: h(fileRows), fileBytes: h(fileBytes),
	}
	for _, name := range []ingest.StageName{ingest.StagePoll, ingest.StageTake, ingest.StageWrite, ingest.StageAppend, ingest.StageCommit} {
		s.took[name] = s.duration.WithLabelValues(string(name))
	}
	return s
}

func (s *stages) observe(e ingest.Stage) {
	if o, ok := s.took[e.Name]; ok {
		o.Observe(e.Took.Seconds())
	}
	switch e.Name {
	case ingest.StagePoll:
		s.polled.Observe(float64(e.Records))
	case ingest.StageWrite:
		for i := range e.Files {
			s.fileRows.Observe(float64(e.Files[i].Rows))
			s.fileBytes.Observe(float64(e.Files[i].Bytes))
		}
	case ingest.StageCommit:
		if e.Err == nil {
			s.commitRows.Observe(float64(e.Records))
			s.window.Observe(e.Began.Add(e.Took).Sub(e.Opened).Seconds())
		}
	}
}

func (s *stages) all() []prometheus.Collector {
	return []prometheus.Collector{s.duration, s.window, s.polled, s.commitRows, s.fileRows, s.fileBytes}
}

// Describe implements prometheus.Collector.
func (s *stages) Describe(to chan<- *prometheus.Desc) {
	for _, c := range s.all() {
		c.Describe(to)
	}
}

// Collect implements prometheus.Collector.
func (s *stages) Collect(to chan<- prometheus.Metric) {
	for _, c := range s.all() {
		c.Collect(to)
	}
}
