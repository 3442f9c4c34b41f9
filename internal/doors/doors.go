// Package doors proves that every door of the lake gives a principal the same, and nothing that
// is not permitted. Its tests fill a lake with values that tell whose they are, ask for all of it
// at every door as every principal, and compare with a statement of who may see what that is
// written beside the policies and not derived from them.
package doors
