// Package e2e holds the tests that use the dashboard as people do: a real Chromium, a real server,
// a small real lake. It has no code of its own.
//
// A test fails, besides by what it looks for, by anything that the browser reports: an error on
// the console, an exception that nothing caught, a violation of the content security policy, and
// a request that failed or was answered with an error that the test did not announce.
//
// Environment:
//
//	CARDLAKE_REAL=1               what is missing fails a test, which otherwise skips
//	CARDLAKE_AXE=FILE             axe.js of axe-core, for the tests of accessibility
//	CARDLAKE_SCREENSHOTS=FOLDER   where pictures of every page are put; none are made without
package e2e
