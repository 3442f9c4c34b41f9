package main

import (
	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/insights/anomalies"
	"github.com/cardlake/cardlake/queries/insights/predictions"
	"github.com/cardlake/cardlake/queries/insights/recommendations"
	"github.com/cardlake/cardlake/queries/insights/segments"
)

// insightJobs are the jobs of "cardlake job", in the order in which people read them.
func insightJobs() []insights.Job {
	return []insights.Job{anomalies.New(), segments.New(), predictions.New(), recommendations.New()}
}
