package acme

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// record is a TXT record that a webhook makes or removes. The form is that of lego's
// provider httpreq, so that what was made for that is of use.
type record struct {
	FQDN  string `json:"fqdn"` // with a dot at the end
	Value string `json:"value"`
}

// webhook calls Webhook.URL.
type webhook struct {
	Webhook
	namespace string
	store     Store
	client    *http.Client
}

// present has a record made, cleanup removed. Any status of 2xx says that it is done.
func (w *webhook) present(ctx context.Context, r record) error { return w.call(ctx, "/present", r) }

func (w *webhook) cleanup(ctx context.Context, r record) error { return w.call(ctx, "/cleanup", r) }

func (w *webhook) call(ctx context.Context, path string, r record) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	url := strings.TrimSuffix(w.URL, "/") + path
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(text))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	if err := w.authenticate(ctx, request); err != nil {
		return err
	}
	response, err := w.client.Do(request)
	if err != nil {
		return fmt.Errorf("the webhook of dns-01 cannot be reached: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	said, _ := io.ReadAll(io.LimitReader(response.Body, maxText))
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("the webhook of dns-01 answers %s with status %d: %s", url, response.StatusCode, strings.TrimSpace(string(said)))
	}
	return nil
}

// authenticate adds the credentials that Webhook.Secret has.
func (w *webhook) authenticate(ctx context.Context, request *http.Request) error {
	if w.Secret == "" {
		return nil
	}
	name := desired.Name{Namespace: w.namespace, Name: w.Secret}
	s, ok, err := w.store.Get(ctx, name)
	if err != nil {
		return fmt.Errorf("reading Secret %s of acme.dnsWebhook: %w", name, err)
	}
	token, username := s.Data["token"], s.Data["username"]
	switch {
	case !ok:
		return fmt.Errorf("there is no Secret %s, which acme.dnsWebhook names; make it, with token, or with username and password", name)
	case len(token) > 0:
		request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	case len(username) > 0:
		request.SetBasicAuth(strings.TrimSpace(string(username)), strings.TrimSpace(string(s.Data["password"])))
	default:
		return fmt.Errorf("the Secret %s of acme.dnsWebhook has neither token nor username and password", name)
	}
	return nil
}
