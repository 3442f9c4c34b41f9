package export

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"filippo.io/age"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/queries/webhook"
)

// Sender sends an event once; *webhook.Sender with one attempt is one. What fails is sent again
// from the store, which a restart does not forget.
type Sender interface {
	Check(to webhook.Endpoint) error
	Send(ctx context.Context, to webhook.Endpoint, e webhook.Event) error
}

const (
	// maxTold is how often a tenant is told of an export before it is given up: for two days.
	maxTold = 12
	// maxSecret bounds a sealed secret, as a text.
	maxSecret = 4096
)

// outcome is what a tenant is told: no row, and no link, which whoever signs in makes.
type outcome struct {
	Export   string          `json:"export"`
	Tenant   cardlake.Tenant `json:"tenant"`
	State    State           `json:"state"`
	Schedule string          `json:"schedule,omitempty"`
	From     time.Time       `json:"from,omitzero"`
	To       time.Time       `json:"to,omitzero"`
	Rows     int64           `json:"rows"`
	Bytes    int64           `json:"bytes"`
	Files    int             `json:"files"`
	Error    string          `json:"error,omitempty"`
}

// SetWebhook tells the URL of a tenant's exports that end from now on; the empty URL tells nobody.
// It returns the secret that events are signed with (Standard Webhooks), which is shown this once
// and kept sealed under the tenant's key.
func (s *Service) SetWebhook(ctx context.Context, c grants.Caller, tenant cardlake.Tenant, url string) (secret string, err error) {
	err = s.Change(ctx, c, tenant, func(set *Settings) error {
		set.Webhook, set.Secret = url, ""
		if url == "" {
			return nil
		}
		if s.deps.Sender == nil {
			return faultf(Invalid, "nothing is sent from here: there is no sender")
		}
		record, err := s.tenant(tenant)
		if err != nil {
			return err
		}
		drawn := webhook.NewSecret()
		if err := s.deps.Sender.Check(webhook.Endpoint{URL: url, Secret: drawn}); err != nil {
			return faultf(Invalid, "the webhook: %v", err)
		}
		secret = drawn.Reveal()
		var sealed bytes.Buffer
		w, err := age.Encrypt(&sealed, kmsRecipient{ctx, s.deps.Keys, keys.OwnerOf(record.StorageID)})
		if err != nil {
			return fmt.Errorf("seal secret: %w", err)
		}
		if _, err := io.WriteString(w, secret); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
		set.Secret = base64.StdEncoding.EncodeToString(sealed.Bytes())
		return nil
	})
	return secret, err
}

// endpoint is where a tenant's events go.
func (s *Service) endpoint(ctx context.Context, set *Settings) (to webhook.Endpoint, err error) {
	sealed, err := base64.StdEncoding.DecodeString(set.Secret)
	if err != nil {
		return to, errors.New("the webhook's secret is malformed")
	}
	r, err := age.Decrypt(bytes.NewReader(sealed), NewKMSIdentity(ctx, s.deps.Keys))
	if err != nil {
		return to, fmt.Errorf("open the webhook's secret: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(r, maxSecret))
	if err != nil {
		return to, fmt.Errorf("open the webhook's secret: %w", err)
	}
	to.URL = set.Webhook
	to.Secret, err = webhook.ParseSecret(string(text))
	return to, err
}

// notify tells tenants of exports that ended: again and again, ever later, until they have heard.
func (s *Service) notify(ctx context.Context) error {
	if s.deps.Sender == nil {
		return nil
	}
	ended, err := documents[*Job](ctx, s.store.db, "SELECT doc FROM jobs WHERE state IN ('done', 'failed') AND json_extract(doc, '$.notified') IS NULL ORDER BY created")
	if err != nil {
		return err
	}
	var errs []error
	for _, j := range ended {
		if s.now().Before(j.NotifyNext) {
			continue
		}
		failed := s.tell(ctx, j)
		if ctx.Err() != nil {
			break
		}
		_, err := s.store.update(ctx, j.ID, func(_ *sql.Tx, j *Job) error {
			j.Notifies++
			j.NotifyNext = s.now().Add(s.cfg.Backoff << min(j.Notifies, 12))
			final := errors.Is(failed, webhook.ErrGone) || errors.Is(failed, webhook.ErrURL) || errors.Is(failed, webhook.ErrAddress) || errors.Is(failed, keys.ErrNoKey)
			j.Notified = failed == nil || final || j.Notifies >= maxTold
			return nil
		})
		if failed != nil {
			s.cfg.Log.WarnContext(ctx, "a tenant was not told of an export", "export", j.ID, "tenant", j.Tenant, "error", failed)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// tell sends one event, if the tenant wants to be told.
func (s *Service) tell(ctx context.Context, j *Job) error {
	set, err := s.Settings(ctx, j.Tenant)
	if err != nil || set.Webhook == "" {
		return err
	}
	to, err := s.endpoint(ctx, &set)
	if err != nil {
		return err
	}
	data, err := json.Marshal(outcome{
		j.ID, j.Tenant, j.State, j.Schedule, j.Request.From, j.Request.To, j.Progress.Rows, j.Progress.Bytes, j.Progress.Files, j.Error,
	})
	if err != nil {
		return err
	}
	return s.deps.Sender.Send(ctx, to, webhook.Event{ID: "export-" + j.ID, Type: "export." + string(j.State), Time: j.EndedAt, Data: data})
}
