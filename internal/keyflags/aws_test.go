package keyflags

import (
	"net/http"
	"testing"
)

// TestEncryptedOnly refuses what would leave the machine in clear, whoever named the address.
func TestEncryptedOnly(t *testing.T) {
	sent := 0
	client := encryptedOnly{roundTrip(func(*http.Request) (*http.Response, error) { sent++; return nil, nil })}
	for url, ok := range map[string]bool{
		"https://kinesis.eu-west-1.amazonaws.com/": true, "http://127.0.0.1:4567/": true, "http://[::1]:4567/": true,
		"http://kinesis.eu-west-1.amazonaws.com/": false, "http://10.0.0.1/": false, "http://localhost.example/": false,
	} {
		before := sent
		r, err := http.NewRequest("POST", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Do(r); (err == nil) != ok || (sent > before) != ok {
			t.Errorf("%s: error %v, want success: %v", url, err, ok)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) Do(r *http.Request) (*http.Response, error) { return f(r) }
