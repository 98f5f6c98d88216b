package acme

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	rfc8555 "github.com/mholt/acmez/v3/acme"
)

// task is one host that the authority wants to be shown.
type task struct {
	authorization rfc8555.Authorization
	challenge     rfc8555.Challenge
	kind          Challenge
	begun         bool
}

func (t *task) answer() answer {
	return answer{Kind: t.kind, Host: name(t.authorization.Identifier.Value), Token: t.challenge.Token, Key: t.challenge.KeyAuthorization}
}

func (t *task) record() record {
	return record{FQDN: t.challenge.DNS01TXTRecordName() + ".", Value: t.challenge.DNS01KeyAuthorization()}
}

// authorize shows the authority that all hosts of an order are the gateway's (RFC 8555,
// section 7.5).
func (i *issuer) authorize(ctx context.Context, client *rfc8555.Client, account rfc8555.Account, order rfc8555.Order, want Want) (err error) {
	tasks, err := i.tasks(ctx, client, account, order, want)
	presented := false
	// What is answered is taken away, and the authority told that nobody goes on with
	// what has not begun, also if this replica is to stop.
	defer func() {
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		if presented {
			i.withdraw(after, tasks)
		}
		for _, t := range tasks {
			if err != nil && !t.begun {
				_, _ = client.DeactivateAuthorization(after, account, t.authorization.Location)
			}
		}
	}()
	if err != nil {
		return err
	}
	presented = true
	if err := i.present(ctx, tasks); err != nil {
		return err
	}
	for _, t := range tasks {
		t.begun = true
		if _, err := client.InitiateChallenge(ctx, account, t.challenge); err != nil {
			return ofAuthority(err)
		}
	}
	for _, t := range tasks {
		if _, err := client.PollAuthorization(ctx, account, t.authorization); err != nil {
			return i.verdict(t, err)
		}
	}
	return nil
}

// verdict tells what the authority found out from not being able to ask it.
func (i *issuer) verdict(t *task, err error) error {
	if p := problemOf(err); p != nil {
		if _, failed := p.Resource.(rfc8555.Authorization); failed {
			return challengeError{t.authorization.IdentifierValue(), t.kind, err}
		}
	}
	return ofAuthority(err)
}

// tasks lists what the authority has not seen yet.
func (i *issuer) tasks(ctx context.Context, client *rfc8555.Client, account rfc8555.Account, order rfc8555.Order, want Want) ([]*task, error) {
	if len(order.Authorizations) > len(want.Hosts) {
		return nil, ofAuthority(fmt.Errorf("it wants %d authorizations for %d hosts", len(order.Authorizations), len(want.Hosts)))
	}
	var tasks []*task
	for _, url := range order.Authorizations {
		a, err := client.GetAuthorization(ctx, account, url)
		if err != nil {
			return tasks, ofAuthority(err)
		}
		switch a.Status {
		case rfc8555.StatusValid:
			continue
		case rfc8555.StatusPending:
		default:
			return tasks, ofAuthority(fmt.Errorf("its authorization for %s is %q", plain(a.IdentifierValue()), plain(a.Status)))
		}
		if !slices.Contains(want.Hosts, name(a.IdentifierValue())) {
			return tasks, ofAuthority(fmt.Errorf("it asks for %s, which was not ordered", plain(a.IdentifierValue())))
		}
		t := &task{authorization: a, kind: i.config.Challenge}
		if a.Wildcard {
			t.kind = DNS01
		}
		at := slices.IndexFunc(a.Challenges, func(c rfc8555.Challenge) bool { return c.Type == string(t.kind) })
		if at < 0 {
			return tasks, fmt.Errorf("the authority does not offer %s for %s, but %s; choose another acme.challenge", t.kind, a.IdentifierValue(), offered(a.Challenges))
		}
		t.challenge = a.Challenges[at]
		tasks = append(tasks, t)
	}
	return tasks, nil
}

func offered(challenges []rfc8555.Challenge) string {
	var types []string
	for _, c := range challenges[:min(len(challenges), 8)] {
		types = append(types, plain(c.Type))
	}
	return strings.Join(types, ", ")
}

// present has all answers given, and returns when they are.
func (i *issuer) present(ctx context.Context, tasks []*task) error {
	answers, records := split(tasks)
	for _, r := range records {
		if err := i.webhook.present(ctx, r); err != nil {
			return err
		}
	}
	if len(answers) > 0 {
		if err := i.board.put(ctx, answers...); err != nil {
			return localError{err}
		}
	}
	if len(records) > 0 {
		if err := sleep(ctx, i.config.Webhook.Propagation); err != nil {
			return err
		}
	}
	return i.spread(ctx, answers)
}

// withdraw takes back what present did.
func (i *issuer) withdraw(ctx context.Context, tasks []*task) {
	answers, records := split(tasks)
	var failed []error
	for _, r := range records {
		failed = append(failed, i.webhook.cleanup(ctx, r))
	}
	if len(answers) > 0 {
		failed = append(failed, i.board.remove(ctx, answers...))
	}
	if err := errors.Join(failed...); err != nil {
		i.log.Warn("the answer to a challenge remains", "error", err)
	}
}

func split(tasks []*task) (answers []answer, records []record) {
	for _, t := range tasks {
		if t.kind == DNS01 {
			records = append(records, t.record())
		} else {
			answers = append(answers, t.answer())
		}
	}
	return answers, records
}
