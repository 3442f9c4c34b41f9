package queries

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// parserOf answers with a tree, and tells whether it was asked.
type parserOf struct{ asked bool }

func (p *parserOf) Parse(context.Context, string) ([]byte, error) {
	p.asked = true
	return []byte(tree("", "", "")), nil
}

// What grows while it is parsed never comes to the parser, which cannot be interrupted and is
// everybody's.
func TestWhatGrowsIsNotParsed(t *testing.T) {
	cube := "(SELECT 1 GROUP BY CUBE(a,b,c,d,e,f,g,h,i,j,k,l,m,n,o))"
	for name, sql := range map[string]string{
		"cubes":         "SELECT " + strings.Repeat(cube+",", 9) + "1",
		"grouping sets": "SELECT 1 GROUP BY " + strings.Repeat("GROUPING/**/SETS ((a),(b)),", 9) + "a",
		"window":        "SELECT " + strings.Repeat("sum(1)OVER w,", 200) + "1 wInDoW w AS(ORDER BY " + strings.Repeat("1,", 1000) + "1)",
	} {
		p := &parserOf{}
		_, err := New(p, nil, nil, nil, Config{}).Check(t.Context(), sql)
		if fault := new(Error); !errors.As(err, &fault) || p.asked {
			t.Errorf("%s: %v, parsed: %v", name, err, p.asked)
		}
	}
	for _, sql := range []string{
		"SELECT 1 GROUP BY CUBE(a,b), ROLLUP(c)", "SELECT sum(1) OVER w WINDOW w AS (ORDER BY a)", "SELECT '" + strings.Repeat("windows ", 1000) + "'",
	} {
		p := &parserOf{}
		if _, err := New(p, nil, nil, nil, Config{}).Check(t.Context(), sql); err != nil || !p.asked {
			t.Errorf("%.60s: %v", sql, err)
		}
	}
}
