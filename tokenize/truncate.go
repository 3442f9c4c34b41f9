package tokenize

// Rule says how many leading and trailing digits of a card number may be kept together in
// clear: PCI SSC FAQ 1091, "What are acceptable formats for truncation of primary account
// numbers". First is 6 or 8.
type Rule struct{ First, Last int }

// RuleFor returns the rule for a card number of n digits. Sixteen digits may keep eight and
// four with every brand served. Fifteen may keep six and four. For other lengths the brands
// publish no common rule, so less is kept: from seventeen digits six and four, which hides at
// least seven, and below fifteen the first six alone.
func RuleFor(n int) Rule {
	switch {
	case n == 16:
		return Rule{8, 4}
	case n >= 15:
		return Rule{6, 4}
	default:
		return Rule{6, 0}
	}
}
