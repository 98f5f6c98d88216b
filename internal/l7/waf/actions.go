package waf

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// act reads a list of actions; counts: they are a rule's.
func (r *reader) act(list string, counts bool) error {
	if counts {
		if r.text.rules++; r.text.rules > maxRules {
			return fmt.Errorf("there are more than %d rules", maxRules)
		}
	}
	if strings.TrimSpace(list) == "" {
		if counts {
			return errors.New("it has no actions; id is needed")
		}
		return errors.New("it has no actions")
	}
	transforms := 0
	parts, err := split(list)
	if err != nil {
		return err
	}
	for _, part := range parts {
		name, value, _ := strings.Cut(part, ":")
		name = strings.ToLower(strings.TrimSpace(name))
		value = strings.Trim(strings.TrimSpace(value), "'")
		if !r.actions[name] {
			return fmt.Errorf("action %q is not supported or not allowed", name)
		}
		if name == "t" {
			transforms++
		}
		if err := r.value(name, value); err != nil {
			return err
		}
	}
	if transforms > maxTransforms {
		return fmt.Errorf("there are more than %d transformations", maxTransforms)
	}
	return nil
}

// split takes a list of actions apart at commas that are not in single quotes, exactly
// where Coraza does: it looks at no first octet, and at none behind a backslash. A comma
// that one of the two readers does not see would hide an action.
func split(list string) ([]string, error) {
	var parts []string
	begin, quoted := 0, false
	for i := 1; i < len(list); i++ {
		switch {
		case list[i-1] == '\\':
		case list[i] == '\'':
			quoted = !quoted
		case list[i] == ',' && !quoted:
			parts = append(parts, list[begin:i])
			begin = i + 1
		}
	}
	if quoted {
		return nil, errors.New("a single quote is not closed")
	}
	return append(parts, list[begin:]), nil
}

// value checks what an action is given.
func (r *reader) value(name, value string) error {
	switch name {
	case "status":
		if n, err := strconv.Atoi(value); err != nil || n < 200 || n > 599 {
			return fmt.Errorf("status %q is no status from 200 to 599", value)
		}
	case "redirect":
		if !strings.HasPrefix(value, "http://") && !strings.HasPrefix(value, "https://") && !strings.HasPrefix(value, "/") || strings.ContainsAny(value, " \t") {
			return fmt.Errorf("redirect to %q, which is neither a URL nor a path", value)
		}
	case "setvar":
		if key := strings.TrimPrefix(value, "!"); !strings.HasPrefix(strings.ToLower(key), "tx.") {
			return fmt.Errorf("setvar:%s: only variables of tx are, none are kept from one request to the next", value)
		}
	case "ctl":
		what, to, _ := strings.Cut(value, "=")
		if !r.controls[what] {
			return fmt.Errorf("ctl:%s is not supported or not allowed", what)
		}
		if what == "requestBodyProcessor" && !processors()[strings.ToUpper(to)] {
			return fmt.Errorf("ctl:%s: %q is none of URLENCODED, MULTIPART, XML, JSON and RAW", what, to)
		}
	}
	return nil
}
