package recommendations

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Bounds of a tenant's settings.
const (
	maxSettings = 8 << 20
	maxOffers   = 5000
)

// Settings are a tenant's file of settings for the job, as JSON. Unknown names in it are errors.
type Settings struct {
	// AllowMerchants, if not empty, are the only merchants that are recommended.
	AllowMerchants []string `json:"allow_merchants,omitempty"`
	// DenyMerchants and DenyMCCs are never recommended. What customers buy there still tells
	// what else they may like.
	DenyMerchants []string `json:"deny_merchants,omitempty"`
	DenyMCCs      []string `json:"deny_mccs,omitempty"`
	// Offers are ranked for each customer.
	Offers []Offer `json:"offers,omitempty"`
}

// Offer is something that a tenant has for buyers at a merchant, or in a category.
type Offer struct {
	// ID is the tenant's name for it, unique.
	ID string `json:"id"`
	// MerchantID or MCC say where it is good: one of them is given.
	MerchantID string `json:"merchant_id,omitempty"`
	MCC        string `json:"mcc,omitempty"`
	// From is the first day and Until the last one (UTC, 2006-01-02) that it is good; empty for
	// no bound. An offer is ranked if it is good on the day of the newest event.
	From  string `json:"from,omitempty"`
	Until string `json:"until,omitempty"`
	// Countries are those of customers' homes that it is for; none for all.
	Countries []string `json:"countries,omitempty"`
}

// parseSettings reads settings and reports every fault of their offers. No bytes are no settings.
func parseSettings(text []byte) (*Settings, error) {
	s := &Settings{}
	if len(text) == 0 {
		return s, nil
	}
	if len(text) > maxSettings {
		return nil, fmt.Errorf("settings: longer than %d MiB", maxSettings>>20)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(s); err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("settings: more than one JSON value")
	}
	if len(s.Offers) > maxOffers {
		return nil, fmt.Errorf("settings: %d offers, at most %d are allowed", len(s.Offers), maxOffers)
	}
	var faults []error
	fault := func(n int, what string) { faults = append(faults, fmt.Errorf("settings: offer %d: %s", n+1, what)) }
	seen := map[string]bool{}
	for n, o := range s.Offers {
		if o.ID == "" || len(o.ID) > 200 || seen[o.ID] {
			fault(n, "id is missing, longer than 200 bytes, or that of another offer")
		}
		seen[o.ID] = true
		if (o.MerchantID == "") == (o.MCC == "") {
			fault(n, "one of merchant_id and mcc is needed")
		}
		if o.MCC != "" && mcc(o.MCC) != nil {
			fault(n, "mcc is not four digits")
		}
		for _, day := range []string{o.From, o.Until} {
			if _, err := time.Parse(time.DateOnly, day); day != "" && err != nil {
				fault(n, "from and until are days such as 2026-01-31")
				break
			}
		}
		if o.From != "" && o.Until != "" && o.From > o.Until {
			fault(n, "from is after until")
		}
		for _, c := range o.Countries {
			if country(c) != nil {
				fault(n, "countries are two capital letters each")
				break
			}
		}
	}
	for _, c := range s.DenyMCCs {
		if mcc(c) != nil {
			faults = append(faults, errors.New("settings: deny_mccs are four digits each"))
			break
		}
	}
	return s, errors.Join(faults...)
}

// narrow leaves out what the tenant does not want in lists.
func (s *Settings) narrow(d *data, p parameters) {
	only, never, categories := set(s.AllowMerchants), set(s.DenyMerchants), set(s.DenyMCCs)
	for i, m := range d.merchants {
		if (len(only) == 0 || only[m.id]) && !never[m.id] && !categories[m.mcc] &&
			(len(p.countries) == 0 || slices.Contains(p.countries, m.country)) {
			continue
		}
		for _, home := range d.allowed {
			home[i] = false
		}
	}
}

func set(list []string) map[string]bool {
	all := make(map[string]bool, len(list))
	for _, s := range list {
		all[s] = true
	}
	return all
}

// current are the offers that are good on the day of the newest event, in order of their ids.
func (s *Settings) current(d *data) (offers []Offer) {
	newest := d.until.Add(-time.Microsecond).UTC().Format(time.DateOnly)
	for _, o := range s.Offers {
		if (o.From == "" || o.From <= newest) && (o.Until == "" || o.Until >= newest) {
			offers = append(offers, o)
		}
	}
	slices.SortFunc(offers, func(a, b Offer) int { return strings.Compare(a.ID, b.ID) })
	return offers
}

// covers says whether the offer is good at the merchant.
func (o Offer) covers(m merchant) bool {
	return o.MerchantID != "" && m.id == o.MerchantID || o.MCC != "" && m.mcc == o.MCC
}

// isFor says whether the offer is for customers of that home, empty if it is not known.
func (o Offer) isFor(home string) bool {
	return len(o.Countries) == 0 || slices.Contains(o.Countries, home)
}
