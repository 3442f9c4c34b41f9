package embedded

import (
	"context"
	"errors"
	"sync"

	"github.com/cardlake/cardlake/queries"
)

var (
	_ queries.Engine = (*Engine)(nil)
	_ queries.Parser = (*Parser)(nil)
)

// Parser implements queries.Parser with DuckDB's own parser, in a locked instance that has
// no tables. It starts with the first statement. It is safe for concurrent use.
type Parser struct {
	mu       sync.Mutex
	instance *instance
}

// NewParser returns a parser; Close ends it.
func NewParser() *Parser { return &Parser{} }

// parserMemory is ample for the parse tree of the longest statement.
const parserMemory = 256 << 20

// Parse implements queries.Parser.
func (p *Parser) Parse(ctx context.Context, sql string) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.instance == nil {
		in, err := openInstance(ctx, Config{Memory: parserMemory})
		if err != nil {
			return nil, err
		}
		if err := in.lock(ctx, nil, 1); err != nil {
			return nil, errors.Join(err, in.Close())
		}
		p.instance = in
	}
	tree, err := p.instance.scan(ctx, "SELECT json_serialize_sql(?::VARCHAR)::VARCHAR", sql)
	if err != nil {
		// A statement that does not parse is no error here: the instance itself is in doubt.
		err = errors.Join(err, p.instance.Close())
		p.instance = nil
		return nil, err
	}
	return []byte(tree), nil
}

// Close frees the parser's memory. The parser can be used again.
func (p *Parser) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.instance == nil {
		return nil
	}
	err := p.instance.Close()
	p.instance = nil
	return err
}
