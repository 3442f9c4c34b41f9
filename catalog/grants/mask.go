package grants

import "github.com/cardlake/cardlake"

// Mask is how a value is given that is not given clear. Every mask keeps the column's type
// and gives NULL for NULL.
type Mask uint8

const (
	// MaskNull gives NULL, or the type's empty value where the column is required.
	MaskNull Mask = iota
	// MaskTail gives the last four characters after "…": enough to see that two values
	// differ, not enough to join. Values of eight characters or fewer are MaskNull.
	MaskTail
	// MaskMagnitude gives an amount rounded toward zero to its leading digit: 1234.56 gives
	// 1000, 0.57 gives 0.5.
	MaskMagnitude
)

// MaskOf returns the mask of a column, by its tag and type.
func MaskOf(c cardlake.Column) Mask {
	switch {
	case c.Tag == cardlake.Identifier && c.Type == cardlake.String:
		return MaskTail
	case c.Tag == cardlake.MoneyTag && c.Type == cardlake.Decimal18x4:
		return MaskMagnitude
	}
	return MaskNull
}
