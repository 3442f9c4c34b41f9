package anomalies

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries/anomaly/features"
	"github.com/cardlake/cardlake/queries/insights"
)

// columns are what features are made of. Whatever else happens to a purchase after its
// authorization is no use of the card.
const columns = `event_id, epoch_us(event_time) AS at, epoch_us(local_time) AS wall, card_token, bin, merchant_id, terminal_id,
	mcc, merchant_city, merchant_country, channel, entry_mode, card_present, CAST(amount AS DOUBLE) AS amount, currency,
	CAST(billing_amount AS DOUBLE) AS billed, approved, decline_reason = 'unknown_card' AS unknown`

// rates is what one unit of a currency was worth in the billing currency of the latest event in
// it. A request that is declined before its account is known has no billing amount.
type rates map[string]float64

// each calls do with the authorizations of the days from one to another, exclusive, in order of
// time and id. The event is overwritten by the next.
func each(ctx context.Context, t *insights.Task, from, to date, r rates, do func(*features.Event) error) (err error) {
	result, err := t.Query(ctx, "SELECT "+columns+" FROM cards.transactions WHERE event_type = 'authorization' AND event_time >= "+
		insights.Time(from.Time())+" AND event_time < "+insights.Time(earlier(to.Time(), t.AsOf))+" ORDER BY event_time, event_id")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, result.Close()) }()
	var e features.Event
	for {
		batch, err := result.NextBatch()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		err = eachOf(batch, r, &e, do)
		batch.Release()
		if err != nil {
			return err
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// table is a batch with its columns by type.
type table struct {
	id, card, bin, merchant, terminal, mcc, city, country, channel, entry, currency *array.String
	at, wall                                                                        *array.Int64
	amount, billed                                                                  *array.Float64
	present, approved, unknown                                                      *array.Boolean
}

func tableOf(b arrow.RecordBatch) (*table, error) {
	var t table
	for i, to := range []any{
		&t.id, &t.at, &t.wall, &t.card, &t.bin, &t.merchant, &t.terminal, &t.mcc, &t.city, &t.country, &t.channel, &t.entry,
		&t.present, &t.amount, &t.currency, &t.billed, &t.approved, &t.unknown,
	} {
		ok := false
		switch to := to.(type) {
		case **array.String:
			*to, ok = b.Column(i).(*array.String)
		case **array.Int64:
			*to, ok = b.Column(i).(*array.Int64)
		case **array.Float64:
			*to, ok = b.Column(i).(*array.Float64)
		case **array.Boolean:
			*to, ok = b.Column(i).(*array.Boolean)
		}
		if !ok {
			return nil, fmt.Errorf("column %s is %s, which was not asked for", b.ColumnName(i), b.Column(i).DataType())
		}
	}
	return &t, nil
}

// text is a value of the column, empty for NULL. It shares the batch's memory.
func text(a *array.String, i int) string {
	if a.IsNull(i) {
		return ""
	}
	return a.Value(i)
}

func eachOf(b arrow.RecordBatch, r rates, e *features.Event, do func(*features.Event) error) error {
	t, err := tableOf(b)
	if err != nil {
		return err
	}
	for i := range int(b.NumRows()) {
		id, err := cardlake.ParseEventID(t.id.Value(i))
		if err != nil {
			return err
		}
		merchant := text(t.merchant, i)
		*e = features.Event{
			ID: id, Time: t.at.Value(i), Card: features.KeyOf(t.card.Value(i)), BIN: features.KeyOf(text(t.bin, i)),
			Merchant: features.KeyOf(merchant), Terminal: features.KeyOf(merchant, text(t.terminal, i)),
			MCC: mccOf(text(t.mcc, i)), Place: features.PlaceOf(text(t.country, i), text(t.city, i)),
			Channel: channelOf(t.channel.Value(i)), Entry: entryOf(t.entry.Value(i)), Present: t.present.Value(i),
			Approved: t.approved.Value(i), UnknownCard: t.unknown.IsValid(i) && t.unknown.Value(i),
			Amount: r.billed(t, i),
		}
		if t.wall.IsValid(i) {
			e.Local = t.wall.Value(i)
		}
		if err := do(e); err != nil {
			return err
		}
	}
	return nil
}

// billed is the amount in the billing currency, 0 if that cannot be told.
func (r rates) billed(t *table, i int) float64 {
	amount := t.amount.Value(i)
	if t.billed.IsNull(i) {
		return max(amount*r[t.currency.Value(i)], 0)
	}
	billed := t.billed.Value(i)
	if amount > 0 && billed > 0 {
		if currency := t.currency.Value(i); r[currency] == 0 {
			r[string(append([]byte(nil), currency...))] = billed / amount
		} else {
			r[currency] = billed / amount
		}
	}
	return max(billed, 0)
}

func mccOf(s string) (n uint16) {
	if len(s) != 4 {
		return 0
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0
		}
		n = n*10 + uint16(s[i]-'0')
	}
	return n
}

func channelOf(s string) features.Channel {
	switch cardlake.Channel(s) {
	case cardlake.POS:
		return features.POS
	case cardlake.Ecommerce:
		return features.Ecommerce
	case cardlake.ATM:
		return features.ATM
	case cardlake.Phone:
		return features.Phone
	}
	return features.OtherChannel
}

func entryOf(s string) features.Entry {
	switch s {
	case "chip":
		return features.Chip
	case "contactless":
		return features.Contactless
	case "magstripe":
		return features.Stripe
	case "fallback":
		return features.Fallback
	case "manual":
		return features.Manual
	case "ecommerce":
		return features.Online
	}
	return features.OtherEntry
}
