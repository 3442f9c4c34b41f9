package cardlake

import "testing"

// A combination's key has room for all texts that its columns may hold.
func TestKeysHaveRoom(t *testing.T) {
	b := NewBatch()
	for i := range b.groups {
		g, size := &b.groups[i], 0
		for text := g.first; text < g.first+Text(g.width); text++ {
			size += textColumns[text].max
		}
		if g.width > maxGroup || size > maxKey {
			t.Errorf("the group of %s has %d columns of at most %d bytes", g.first, g.width, size)
		}
	}
}

// So have the sizes of a row's own texts.
func TestSizesHaveRoom(t *testing.T) {
	for _, text := range singleTexts {
		if textColumns[text].max > 255 {
			t.Errorf("%s may have %d bytes", text, textColumns[text].max)
		}
	}
	for _, c := range []textColumn{tokenColumn, binColumn, last4Column} {
		if c.max > 255 {
			t.Errorf("%s may have %d bytes", c.name, c.max)
		}
	}
}
