package main

import "testing"

// Who runs the command does not say who that is: one person would be the two that off-boarding
// a tenant takes.
func TestPersonIsNotMadeUp(t *testing.T) {
	for _, c := range []struct {
		euid       int
		sudo, want string
	}{{1000, "bea", "os:ana"}, {1000, "", "os:ana"}, {0, "bea", "os:bea"}, {0, "", "os:ana"}} {
		if got := personOf(c.euid, "ana", c.sudo); got != c.want {
			t.Errorf("uid %d, SUDO_USER %q: %s, want %s", c.euid, c.sudo, got, c.want)
		}
	}
}
