// Package report describes one run of an insights job and shows it to people.
//
// A [Card] is the run's model card: what was computed from which rows with which parameters,
// how good it is beside simple baselines, how far the data moved since the run before, and what
// its reader must not conclude (Mitchell et al., "Model Cards for Model Reporting", FAT* 2019).
// A [Figure] is a picture as data: series of points, not pixels, so that it is stored with the
// card and drawn wherever it is read, as PNG, SVG or in the page.
//
// Everything here is a pure function of its input: no clock, no files, no network; equal cards
// give equal bytes. Names and labels may come from a tenant's data, so they are hostile: the
// page escapes them, the terminal form takes control characters out of them, and errors name
// their place, never their text.
package report
