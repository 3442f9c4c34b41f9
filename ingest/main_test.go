package ingest_test

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.RemoveAll(keyringDir)
	os.Exit(code)
}
