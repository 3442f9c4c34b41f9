package iceberg

// sweep removes the metadata objects that only the snapshots which a commit expired had
// use for: their manifest lists, and the manifests that were merged into others. It is best
// effort: what it leaves is found by maintenance, as objects that no metadata names. Data
// files are not touched.
//
// It reasons on a linear history: a manifest that is gone from one snapshot's list is in
// none of the later ones. Where there are branches, tags or snapshots that were rolled back,
// it leaves everything to maintenance.
func (c *commit) sweep() {
	before, after := c.base.ancestry(), c.result.ancestry()
	if len(before) != len(c.base.meta.Snapshots()) {
		return
	}
	superfluous := map[string]bool{}
	for _, s := range before {
		if c.result.meta.SnapshotByID(s.SnapshotID) != nil {
			continue
		}
		manifests, err := s.Manifests(c.storage)
		if err != nil {
			c.warn(err)
			return
		}
		for _, m := range manifests {
			superfluous[m.FilePath()] = true
		}
		superfluous[s.ManifestList] = true
	}
	if len(superfluous) == 0 {
		return
	}
	listed, err := after[len(after)-1].Manifests(c.storage)
	if err != nil {
		c.warn(err)
		return
	}
	for _, m := range listed {
		delete(superfluous, m.FilePath())
	}
	for uri := range superfluous {
		_ = c.storage.Remove(uri)
	}
}

func (c *commit) warn(err error) {
	c.t.cat.log.Warn("expired table metadata was not removed", "table", c.t.def.FullName(), "error", err)
}
